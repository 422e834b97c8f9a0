import test from 'ava'
import { chmodSync, linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { markFile, markLocalPrograms, readList } from '../../../src/setup/image/mark.mjs'

const elf = (): Buffer => Buffer.concat([Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]), Buffer.alloc(57)])
const isMarked = (path: string): boolean => readFileSync(path)[9] === 0x78

function root (): string {
  const folder = mkdtempSync(join(tmpdir(), 'xos-root-'))
  for (const each of ['usr/bin', 'usr/sbin', 'usr/lib/helpers', 'etc/alternatives']) mkdirSync(join(folder, each), { recursive: true })
  return folder
}

test('listed names, wildcards and absolute paths are marked, the rest is not', (t) => {
  const folder = root()
  t.teardown(() => rmSync(folder, { recursive: true }))
  for (const name of ['bash', 'apt-get', 'apt-cache', 'python3', '[']) writeFileSync(join(folder, 'usr/bin', name), elf())
  for (const name of ['one', 'libone-2.1.so', 'libone.so.3']) writeFileSync(join(folder, 'usr/lib/helpers', name), elf())
  writeFileSync(join(folder, 'list'), '# comment\nbash [ apt-*  # more\n/usr/lib/helpers/*\nabsent\n')
  const { marked, absent } = markLocalPrograms(folder, join(folder, 'list'))
  t.deepEqual(marked, ['usr/bin/[', 'usr/bin/apt-cache', 'usr/bin/apt-get', 'usr/bin/bash', 'usr/lib/helpers/one'])
  t.deepEqual(absent, ['absent'])
  t.true(isMarked(join(folder, 'usr/bin/bash')))
  t.false(isMarked(join(folder, 'usr/bin/python3')))
})

test('setuid and setgid programs are marked without being listed', (t) => {
  const folder = root()
  t.teardown(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'usr/lib/helpers/keysign'), elf())
  chmodSync(join(folder, 'usr/lib/helpers/keysign'), 0o4755)
  writeFileSync(join(folder, 'usr/bin/wall'), elf())
  chmodSync(join(folder, 'usr/bin/wall'), 0o2755)
  writeFileSync(join(folder, 'list'), '')
  t.deepEqual(markLocalPrograms(folder, join(folder, 'list')).marked, ['usr/bin/wall', 'usr/lib/helpers/keysign'])
})

test('an absolute link is followed inside the root, and scripts are left as they are', (t) => {
  const folder = root()
  t.teardown(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'usr/bin/mawk'), elf())
  symlinkSync('/usr/bin/mawk', join(folder, 'etc/alternatives/awk'))
  symlinkSync('/etc/alternatives/awk', join(folder, 'usr/bin/awk'))
  symlinkSync('/etc/alternatives/none', join(folder, 'usr/bin/broken'))
  symlinkSync('loop', join(folder, 'usr/bin/loop'))
  writeFileSync(join(folder, 'usr/bin/script'), '#!/bin/sh\necho a script longer than a header\n')
  writeFileSync(join(folder, 'list'), 'awk script broken loop')
  t.deepEqual(markLocalPrograms(folder, join(folder, 'list')).marked, ['usr/bin/mawk'])
  t.regex(readFileSync(join(folder, 'usr/bin/script'), 'utf8'), /^#!\/bin\/sh\necho/)
})

test('a file is marked in place: hard links stay links, twice is as once', (t) => {
  const folder = root()
  t.teardown(() => rmSync(folder, { recursive: true }))
  const [a, b] = [join(folder, 'usr/bin/a'), join(folder, 'usr/bin/b')]
  writeFileSync(a, elf())
  linkSync(a, b)
  t.true(markFile(a))
  t.true(markFile(a))
  t.true(isMarked(b))
  writeFileSync(join(folder, 'usr/bin/short'), '\x7fELF')
  t.false(markFile(join(folder, 'usr/bin/short')))
})

test('the list of the image names shells and not what computes', (t) => {
  const names = new Set(readList(new URL('../../../image/base/local-programs', import.meta.url).pathname))
  for (const name of ['bash', 'ls', 'env', 'xargs', 'timeout', 'ps', 'ssh', 'tmux']) t.true(names.has(name), name)
  for (const name of ['python3', 'gcc', 'sort', 'gzip', 'true', 'sleep', 'vim', 'less', 'make', 'sha256sum']) t.false(names.has(name), name)
})
