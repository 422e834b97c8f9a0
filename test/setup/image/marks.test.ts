import test, { type ExecutionContext } from 'ava'
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, linkSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { applyMarks, marksAreOn, undoMarks } from '../../../src/setup/image/marks.mjs'

const elf = (text: string): Buffer => Buffer.concat([Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]), Buffer.alloc(57), Buffer.from(text)])
const mark = (path: string): number => readFileSync(path)[9]!

function root (t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'xos-marks-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  for (const each of ['usr/bin', 'usr/sbin', 'usr/lib/xos/marks', 'usr/share/xos']) mkdirSync(join(folder, each), { recursive: true })
  writeFileSync(join(folder, 'usr/share/xos/local-programs.list'), 'bash tar\n')
  for (const name of ['bash', 'tar', 'python3']) writeFileSync(join(folder, 'usr/bin', name), elf(name))
  return folder
}

const state = (folder: string): unknown => execFileSync('find', ['usr', '-printf', '%p %m %n %T@ %s %l\n'], { cwd: folder, encoding: 'utf8' }).split('\n').filter((line) => !/^usr\/(?:bin|lib|lib\/xos\/marks) /.test(line)).sort()

test('programs are marked with all that they have, and unmarked without a trace', (t) => {
  const folder = root(t)
  const path = (name: string): string => join(folder, 'usr/bin', name)
  linkSync(path('tar'), join(folder, 'usr/lib/second-name'))
  chmodSync(path('bash'), 0o4755)
  utimesSync(path('bash'), 1_000_000, 1_000_000)
  const before = [state(folder), readFileSync(path('bash')), readFileSync(path('tar'))]
  t.deepEqual(applyMarks(folder), { changed: ['usr/bin/bash', 'usr/bin/tar', 'usr/lib/second-name'], skipped: [] })
  t.deepEqual([mark(path('bash')), mark(path('tar')), mark(path('python3'))], [0x78, 0x78, 0])
  t.deepEqual([statSync(path('bash')).mode & 0o7777, statSync(path('bash')).mtimeMs], [0o4755, 1_000_000_000])
  t.is(statSync(path('tar')).ino, statSync(join(folder, 'usr/lib/second-name')).ino)
  t.true(marksAreOn(folder))
  t.deepEqual(applyMarks(folder).changed, [], 'twice is as once')
  undoMarks(folder)
  t.deepEqual([state(folder), readFileSync(path('bash')), readFileSync(path('tar'))], before)
  t.false(existsSync(join(folder, 'var/lib/xos/marks')))
})

test('an upgraded program is marked again', (t) => {
  const folder = root(t)
  applyMarks(folder)
  writeFileSync(join(folder, 'new'), elf('bash 2'))
  renameSync(join(folder, 'new'), join(folder, 'usr/bin/bash'))
  t.deepEqual(applyMarks(folder).changed, ['usr/bin/bash'])
  t.is(readFileSync(join(folder, 'usr/bin/bash')).subarray(64).toString(), 'bash 2')
  t.deepEqual(undoMarks(folder).changed, ['usr/bin/bash', 'usr/bin/tar'])
})

test('what a crash left behind is no obstacle', (t) => {
  const folder = root(t)
  mkdirSync(join(folder, 'usr/lib/xos/marks/stage/usr/bin'), { recursive: true })
  writeFileSync(join(folder, 'usr/lib/xos/marks/stage/usr/bin/bash'), 'half')
  t.is(applyMarks(folder).changed.length, 2)
  t.deepEqual(readdirSync(join(folder, 'usr/lib/xos/marks')), [])
})
