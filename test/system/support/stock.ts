// A stock Debian 13, with nothing of ours in it: what the packages are installed on. Made once for each list of packages.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { debianMirror } from '../../../src/setup/image/mirror.mjs'
import { imageStore } from '../../../src/setup/lib/paths.mjs'
import { waitLock } from '../../../src/setup/lib/lock.mjs'
import { run } from '../../../src/setup/lib/run.mjs'

const make_ms = 10 * 60_000
/** Beside the variant "important" (what the installer takes): login over the network, and what our packages depend on, so that a purge leaves nothing else. */
const packages = ['systemd-sysv', 'libpam-systemd', 'openssh-server', 'sudo', 'dbus', 'fuse3', 'libfuse3-4', 'liblmdb0', 'libseccomp2', 'keyutils', 'nftables', 'libstdc++6', 'ca-certificates']

/** Path of the root; not to be written to (enter it with an overlay). */
export async function stockRoot (log: string): Promise<string> {
  const store = join(imageStore, '../stock')
  const path = join(store, createHash('sha256').update(packages.join()).digest('hex').slice(0, 20))
  mkdirSync(store, { recursive: true, mode: 0o755 })
  const lock = await waitLock(`${path}.lock`, 'making a stock Debian', { timeout_ms: make_ms })
  if (!('release' in lock)) throw new Error(`process ${lock.holder.pid} is making '${path}'`)
  try {
    if (existsSync(path)) return path
    rmSync(`${path}.partial`, { recursive: true, force: true })
    const source = `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${debianMirror()} trixie main`
    await run('unshare', ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc', 'mmdebstrap', '--variant=important', '--mode=root', '--format=directory',
      '--architectures=amd64', '--aptopt=APT::Install-Recommends "false"', `--include=${packages.join(',')}`, 'trixie', `${path}.partial`, source], { log, timeout_ms: make_ms })
    renameSync(`${path}.partial`, path)
    return path
  } finally {
    lock.release()
  }
}
