import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { makeCpio } from '../../../src/setup/image/cpio.mjs'
import { planModules } from '../../../src/setup/image/initrd.mjs'

function folder (t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'xos-initrd-'))
  t.teardown(() => rmSync(path, { recursive: true }))
  return path
}

function modules (t: ExecutionContext): string {
  const path = folder(t)
  writeFileSync(join(path, 'modules.dep'), 'kernel/fs/erofs.ko.xz: kernel/lib/libcrc.ko.xz\nkernel/lib/libcrc.ko.xz:\nkernel/crypto/crc-generic.ko.xz:\nkernel/block/virtio-blk.ko.xz:\n')
  writeFileSync(join(path, 'modules.builtin'), 'kernel/drivers/virtio/virtio.ko\n')
  writeFileSync(join(path, 'modules.alias'), 'alias virtio:d00000002v* virtio_blk\nalias crypto-crc crc_generic\nalias fs-erofs erofs\n')
  writeFileSync(join(path, 'modules.softdep'), '# comment\nsoftdep libcrc pre: crypto-crc\n')
  return path
}

test('modules come with what they need, with what they ask for by name, and with the devices that call for them', (t) => {
  const plan = planModules(modules(t), { initrd_always: ['erofs'], initrd_modules: ['virtio_blk', 'virtio'] })
  t.deepEqual(plan.map(({ name, needs, aliases }) => ({ name, needs, aliases })), [
    { name: 'crc_generic', needs: [], aliases: [] },
    { name: 'erofs', needs: ['libcrc'], aliases: ['*'] },
    { name: 'libcrc', needs: ['crc_generic'], aliases: [] },
    { name: 'virtio_blk', needs: [], aliases: ['virtio:d00000002v*'] },
  ])
})

test('a module that the kernel does not have is named', (t) => {
  const error = t.throws(() => planModules(modules(t), { initrd_always: ['nvme'], initrd_modules: [] }), { code: 'XOS_IMAGE_DECLARATION' })
  t.regex(error?.message ?? '', /'nvme'.*flavour\.json/)
})

test('an archive is what cpio reads, with all sizes of files, and the same each time', (t) => {
  const path = folder(t)
  const entries = [{ path: 'a', mode: 0o040755 }, ...[0, 1, 2, 3, 4, 5000].map((length) => ({ path: `a/${length}`, mode: 0o100755, data: Buffer.alloc(length, 'x') }))]
  const archive = makeCpio(entries, 1_000_000_000)
  t.deepEqual(makeCpio(entries, 1_000_000_000), archive)
  try {
    execFileSync('cpio', ['-i', '--quiet'], { cwd: path, input: archive })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return t.log('cpio is not installed: what it makes of the archive is not tried')
  }
  for (const entry of entries.slice(1)) t.deepEqual(readFileSync(join(path, entry.path)), 'data' in entry ? entry.data : null)
})
