import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { makeCpio } from '../../../src/setup/image/cpio.mjs'
import { planModules } from '../../../src/setup/image/initrd.mjs'
import { clone } from '../../../src/setup/lib/paths.mjs'

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

/** Sentences about the first process's own judgement, asked of its C: what it prints for a program that ends in `body`. */
function judged (t: ExecutionContext, body: string): string {
  const path = folder(t)
  writeFileSync(join(path, 'judge.c'), `#include "init.h"\n#include <stdio.h>\n#include <string.h>\nint load_module(const char *name) { return name ? 0 : -1; }\nint main(void)\n{\n${body}\n}\n`)
  const initrd = join(clone, 'image/initrd')
  execFileSync('gcc', ['-std=gnu17', '-Wall', '-Werror', '-DXOS_INIT_TEST', '-I', initrd, '-o', join(path, 'judge'), join(path, 'judge.c'), join(initrd, 'init.c'), join(initrd, 'trial.c')])
  return execFileSync(join(path, 'judge'), { encoding: 'utf8' })
}

test('a machine stands still when no process begins, nothing is read, and less than a quarter of a CPU is used', (t) => {
  const stat = (idle: number, more: { user?: number, iowait?: number, steal?: number, forks?: number } = {}): string =>
    `cpu  ${100 + (more.user ?? 0)} 1 50 ${idle} ${20 + (more.iowait ?? 0)} 3 4 ${more.steal ?? 0} 7 7\\ncpu0 9 9 9 9\\nintr 1 processes 5\\nprocesses ${300 + (more.forks ?? 0)}\\nprocs_running 1\\n`
  const vmstat = (read = 4096): string => `pgpgin_other 9\\npgpgin ${read}\\npgpgout ${read * 7}\\n`
  const second = (now: string, read?: number): string => judged(t, `struct activity a, b;
    parse_activity("${stat(1000)}", "${vmstat()}", &a); parse_activity("${now}", "${vmstat(read)}", &b);
    printf("%d", stands_still(&a, &b));`)
  t.is(second(stat(1200)), '1')
  t.is(second(stat(1180, { user: 24 })), '1')
  t.is(second(stat(1180, { user: 25 })), '0')
  t.is(second(stat(1180, { iowait: 25 })), '0', 'it waits for its disk')
  t.is(second(stat(1180, { steal: 25 })), '0', 'it is given no CPU')
  t.is(second(stat(1200, { forks: 1 })), '0')
  t.is(second(stat(1200), 4100), '0')
})

test('of the kernel command line the first root counts, and times can be set', (t) => {
  const root = `12345678-1234-1234-1234-123456789abc:${'a'.repeat(64)}:${'b'.repeat(64)}:100`
  const parsed = (line: string): string => judged(t, `struct root root; char line[] = "${line}"; bool good = parse_root(line, &root);
    printf("%d %llu %u %u %u %d", good, (unsigned long long)root.blocks, root.wait_s, root.trial_s, root.still_s, root.is_trial);`)
  t.is(parsed(`xos.root=${root} quiet xos.root=${root}9 init=/bin/sh`), '1 100 30 300 15 0')
  t.is(parsed(`xos.trial xos.still_s=60 xos.trial_s=900 xos.wait=5 xos.root=${root}`), '1 100 5 900 60 1')
  for (const bad of ['quiet', 'xos.root=', `xos.root=${root}:1`, `xos.root=${root.replace(':100', ':0')}`, `xos.root=${root.replace('aa', 'aA')}`]) t.regex(parsed(bad), /^0 /, bad)
})
