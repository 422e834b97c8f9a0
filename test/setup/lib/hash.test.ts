import test from 'ava'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hashInputs } from '../../../src/setup/lib/hash.mjs'

test('content, names, the executable bit, links, words and what is missing all count; order does not', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'xos-hash-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  mkdirSync(join(folder, 'tree'))
  writeFileSync(join(folder, 'tree/a'), 'one')
  const hashes = [hashInputs(folder, ['tree', 'none'])]
  t.is(hashInputs(folder, ['none', 'tree']), hashes[0])
  const changed = (change: () => void, extra: string[] = []): void => {
    change()
    const now = hashInputs(folder, ['tree', 'none'], extra)
    t.false(hashes.includes(now))
    hashes.push(now)
  }
  changed(() => writeFileSync(join(folder, 'tree/a'), 'two'))
  changed(() => chmodSync(join(folder, 'tree/a'), 0o755))
  changed(() => writeFileSync(join(folder, 'tree/b'), 'two'))
  changed(() => symlinkSync('a', join(folder, 'tree/c')))
  changed(() => writeFileSync(join(folder, 'none'), ''))
  changed(() => {}, ['word'])
})
