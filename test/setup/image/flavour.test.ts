import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { flavourNames, readFlavour } from '../../../src/setup/image/flavour.mjs'

const good = {
  title: 'a flavour', roots: ['base', 'x'], programs: [], outputs: ['root'], root: { format: 'erofs', options: [] },
  kernel: { commandLine: 'quiet', modules_without: [], initrd_always: [], initrd_modules: [] },
}

function folder (t: ExecutionContext, value: unknown): string {
  const path = mkdtempSync(join(tmpdir(), 'xos-flavour-'))
  t.teardown(() => rmSync(path, { recursive: true }))
  mkdirSync(join(path, 'x'))
  mkdirSync(join(path, 'no-flavour'))
  writeFileSync(join(path, 'x/flavour.json'), typeof value === 'string' ? value : JSON.stringify(value))
  return path
}

test('the flavours of the sources can be read', (t) => {
  t.true(flavourNames().includes('pc'))
  for (const name of flavourNames()) t.notThrows(() => readFlavour(name))
})

test('a flavour is read, and a folder without a declaration is none', (t) => {
  const path = folder(t, good)
  t.deepEqual(flavourNames(path), ['x'])
  t.like(readFlavour('x', path), { name: 'x', ...good })
})

test('an unknown flavour is refused with the names that there are', (t) => {
  const error = t.throws(() => readFlavour('no-flavour', folder(t, good)), { code: 'XOS_IMAGE_FLAVOUR' })
  t.regex(error?.message ?? '', /'no-flavour'.*there are x/)
  t.throws(() => readFlavour('../image/pc', folder(t, good)), { code: 'XOS_IMAGE_FLAVOUR' })
})

const wrong: readonly (readonly [string, unknown])[] = [
  ['what is no JSON', '{'], ['an unknown field', { ...good, extra: 1 }], ['a missing title', { ...good, title: undefined }], ['a list that is a word', { ...good, roots: 'base' }],
  ['an unknown format', { ...good, root: { format: 'zip', options: [] } }], ['an unknown output', { ...good, outputs: ['floppy'] }],
  ['a disk without sizes', { ...good, outputs: ['disk'] }], ['a disk of no size', { ...good, outputs: ['disk'], disk: { esp_mib: 1, slot_mib: 0, data_mib: 1 } }],
  ['a kernel without its modules', { ...good, kernel: { commandLine: 'quiet' } }],
]
for (const [what, value] of wrong) {
  test(`a declaration with ${what} is refused, and its file named`, (t) => {
    const error = t.throws(() => readFlavour('x', folder(t, value)), { code: 'XOS_IMAGE_DECLARATION' })
    t.regex(error?.message ?? '', /x\/flavour\.json/)
  })
}
