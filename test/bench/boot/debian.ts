// The anchor: Debian 13 as its installer leaves it (systemd, the initramfs that initramfs-tools makes with MODULES=most, ext4), with the very kernel of our image.
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { XosError } from '../../../src/core/errors.ts'
import { debianMirror } from '../../../src/setup/image/mirror.mjs'
import { runTool } from '../../../src/setup/image/tools.mjs'
import { run } from '../run.ts'

const suite = 'trixie'
const packages = ['linux-image-amd64', 'initramfs-tools', 'systemd-sysv', 'libpam-systemd', 'dbus', 'udev', 'openssh-server', 'ifupdown', 'isc-dhcp-client', 'systemd-timesyncd', 'cron', 'sudo']
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg'
const make_ms = 20 * 60_000
const image_mib = 2048

export interface PlainDebian { readonly image: string, readonly linux: string, readonly initrd: string, readonly kernel: string }

/** Makes it on first use (two to four minutes) below `base` and keeps it. Throws `XOS_BENCH_ANCHOR_ROOT`. */
export async function plainDebian(base: string, tools: string, say: (text: string) => void, signal: AbortSignal): Promise<PlainDebian> {
  const folder = join(base, `${suite}-${createHash('sha256').update(JSON.stringify([packages, image_mib])).digest('hex').slice(0, 16)}`)
  if (!existsSync(folder)) {
    say(`boot: making a plain Debian in '${folder}' (once, two to four minutes)`)
    try {
      await make(`${folder}.partial`, tools, signal)
      await rename(`${folder}.partial`, folder)
    } catch (error) {
      await rm(`${folder}.partial`, { recursive: true, force: true })
      throw new XosError('XOS_BENCH_ANCHOR_ROOT', `cannot make the plain Debian '${folder}': ${error instanceof Error ? error.message : String(error)}; check apt's sources and the network`, {}, { cause: error })
    }
  }
  const kernel = (await readdir(folder)).find((name) => name.startsWith('vmlinuz-'))?.slice('vmlinuz-'.length) ?? ''
  return { image: join(folder, 'disk.img'), linux: join(folder, `vmlinuz-${kernel}`), initrd: join(folder, `initrd.img-${kernel}`), kernel }
}

async function make(partial: string, tools: string, signal: AbortSignal): Promise<void> {
  await rm(partial, { recursive: true, force: true })
  await mkdir(partial, { recursive: true })
  const root = join(partial, 'root')
  await run(['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', 'mmdebstrap', '--variant=important', '--mode=root', '--format=directory', '--architectures=amd64',
    '--aptopt=APT::Install-Recommends "false"', `--include=${packages.join(',')}`, '--customize-hook=echo plain >"$1/etc/hostname"', '--customize-hook=echo "/dev/vda / ext4 defaults 0 1" >"$1/etc/fstab"',
    '--customize-hook=echo uninitialized >"$1/etc/machine-id"; ln -sf /dev/null "$1/etc/systemd/system/systemd-firstboot.service"',
    suite, root, `deb [signed-by=${keyring}] ${debianMirror()} ${suite} main`], { timeout_ms: make_ms, signal })
  for (const name of await readdir(join(root, 'boot'))) if (/^(vmlinuz|initrd\.img)-/.test(name)) await rename(join(root, 'boot', name), join(partial, name))
  await runTool(tools, ['mke2fs', '-q', '-t', 'ext4', '-d', root, join(partial, 'disk.img'), `${image_mib}M`], { binds: [partial], signal, timeout_ms: make_ms })
  await rm(root, { recursive: true, force: true })
  await stat(join(partial, 'disk.img'))
}
