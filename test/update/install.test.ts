import { createHash, generateKeyPairSync } from 'node:crypto'
import { mkdir, mkdtemp, open, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { writeSigned } from '../../src/setup/image/update.mjs'
import { openBundle, partNames } from '../../src/update/bundle.ts'
import { confirm, install } from '../../src/update/install.ts'
import { rollBack } from '../../src/update/rollback.ts'
import { readStatus } from '../../src/update/status.ts'
import { compareVersions, listEntries, readEnvironment, setLeft } from '../../src/update/versions.ts'

const keys = generateKeyPairSync('ed25519')

/** A folder that is what a disk's EFI partition is, a file that is its other slot, and a bundle. */
async function machine (t: ExecutionContext, version = '2.0', flavour = 'pc') {
  const folder = await mkdtemp(join(tmpdir(), 'xos-update-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const [esp, slot, path] = [join(folder, 'esp'), join(folder, 'slot'), join(folder, 'bundle')]
  await mkdir(join(esp, 'EFI/Linux'), { recursive: true })
  await mkdir(join(esp, 'xos/1.0'), { recursive: true })
  await writeFile(join(esp, 'EFI/Linux/xos-1.0.efi'), 'old')
  await writeFile(join(esp, 'xos/1.0/linux'), 'old')
  await writeFile(join(esp, 'xos/slots.json'), '{"xos-a":"1.0"}')
  await writeFile(join(esp, 'xos/grubenv'), '# GRUB Environment Block\nxos_version=1.0\nxos_before=\nxos_tries=\n'.padEnd(1024, '#'))
  await writeFile(slot, Buffer.alloc(64 * 1024))
  const parts = partNames.map((name, index) => ({ name, data: Buffer.alloc(5000 + index, `${name} of ${version}`) }))
  writeSigned(path, { flavour, version, uuid: 'u', hash: 'h', parts: parts.map(({ name, data }) => ({ name, bytes: data.length, sha256: createHash('sha256').update(data).digest('hex') })) },
    parts.map(({ data }) => data), keys.privateKey.export({ type: 'pkcs8', format: 'pem' }))
  const target = { flavour: 'pc', version: '1.0', slot: 'xos-a', otherSlot: 'xos-b', otherDevice: slot, otherBytes: 64 * 1024 }
  const run = async (allowOlder = false): Promise<void> => {
    const file = await open(path)
    t.teardown(() => file.close().catch(() => {}))
    await install(await openBundle(file, path, keys.publicKey), target, { path, esp, allowOlder, say: () => {} })
  }
  const tree = async (): Promise<string[]> => (await readdir(folder, { recursive: true })).sort()
  return { esp, slot, path, target, run, tree, root: parts[0]?.data ?? Buffer.alloc(0) }
}

const grub = async (esp: string): Promise<object> => Object.fromEntries(await readEnvironment(esp))

test('an update goes to the other slot and is started on trial, by both loaders', async (t) => {
  const { esp, slot, run, root } = await machine(t)
  await run()
  t.deepEqual((await readFile(slot)).subarray(0, root.length), root)
  t.deepEqual(await readStatus(esp, '1.0'), [
    { version: '2.0', slot: 'xos-b', running: false, state: 'trial' }, { version: '1.0', slot: 'xos-a', running: true, state: 'good' },
  ])
  t.deepEqual(await grub(esp), { xos_version: '2.0', xos_before: '1.0', xos_tries: '1' })
  t.is((await readFile(join(esp, 'xos/grubenv'))).length, 1024)
  t.true((await readFile(join(esp, 'xos/2.0/linux'), 'latin1')).startsWith('linux of 2.0'))
})

test('a version whose counted start this is, is on trial until it is confirmed; one that did not come up is bad', async (t) => {
  const { esp, run } = await machine(t)
  await run()
  await setLeft(esp, '2.0', 0) // systemd-boot, as it starts the entry
  const states = async (running: string): Promise<object> => Object.fromEntries((await readStatus(esp, running)).map(({ version, state }) => [version, state]))
  t.deepEqual(await states('2.0'), { '1.0': 'good', '2.0': 'trial' })
  t.deepEqual(await states('1.0'), { '1.0': 'good', '2.0': 'bad' })
  await confirm(esp, '2.0', setLeft)
  t.deepEqual(await states('2.0'), { '1.0': 'good', '2.0': 'good' })
  await rollBack(esp, { version: '2.0', otherSlot: 'xos-a' })
  t.deepEqual(await states('2.0'), { '1.0': 'good', '2.0': 'bad' })
})

test('once it is confirmed nobody counts any more, and a second confirmation changes nothing', async (t) => {
  const { esp, run } = await machine(t)
  await run()
  for (let time = 0; time < 2; time++) {
    await confirm(esp, '2.0', setLeft)
    t.deepEqual((await listEntries(esp)).map(({ file }) => file), ['xos-2.0.efi', 'xos-1.0.efi'])
    t.deepEqual(await grub(esp), { xos_version: '2.0', xos_before: '1.0', xos_tries: '' })
  }
})

test('a roll-back starts the version before, and a second one goes forward again', async (t) => {
  const { esp, run } = await machine(t)
  await run()
  await confirm(esp, '2.0', setLeft)
  t.is(await rollBack(esp, { version: '2.0', otherSlot: 'xos-a' }), '1.0')
  t.deepEqual((await listEntries(esp)).map(({ version, left }) => [version, left]), [['2.0', 0], ['1.0', null]])
  t.deepEqual(await grub(esp), { xos_version: '1.0', xos_before: '2.0', xos_tries: '' })
  t.is(await rollBack(esp, { version: '1.0', otherSlot: 'xos-b' }), '2.0')
  t.deepEqual((await listEntries(esp)).map(({ version, left }) => [version, left]), [['2.0', null], ['1.0', 0]])
})

test('without a second version there is nothing to roll back to', async (t) => {
  const { esp } = await machine(t)
  await t.throwsAsync(rollBack(esp, { version: '1.0', otherSlot: 'xos-b' }), { code: 'XOS_UPDATE_VERSION' })
})

test('a bundle that is damaged changes nothing at all', async (t) => {
  const { path, slot, tree, run, esp } = await machine(t)
  const data = await readFile(path)
  data.writeUInt8(data.readUInt8(data.length - 1) ^ 1, data.length - 1)
  await writeFile(path, data)
  const before = await tree()
  await t.throwsAsync(run(), { code: 'XOS_UPDATE_BUNDLE' })
  t.deepEqual(await tree(), before)
  t.deepEqual(await readFile(slot), Buffer.alloc(64 * 1024))
  t.deepEqual(await grub(esp), { xos_version: '1.0', xos_before: '', xos_tries: '' })
})

test('the running version and older ones are refused, unless older is asked for', async (t) => {
  await t.throwsAsync((await machine(t, '1.0')).run(true), { code: 'XOS_UPDATE_OLD' })
  const older = await machine(t, '0.9')
  await t.throwsAsync(older.run(), { code: 'XOS_UPDATE_OLD' })
  await t.notThrowsAsync(older.run(true))
})

test('an update of another flavour, or too big for the slot, is refused', async (t) => {
  await t.throwsAsync((await machine(t, '2.0', 'mobile')).run(), { code: 'XOS_UPDATE_FLAVOUR' })
  const small = await machine(t)
  Object.assign(small.target, { otherBytes: 4999 })
  await t.throwsAsync(small.run(), { code: 'XOS_UPDATE_SIZE' })
})

test('what was in the slot is gone before the slot is written, so that no entry points to half a root', async (t) => {
  const { esp, run, target } = await machine(t)
  await run()
  Object.assign(target, { otherDevice: join(esp, 'no-such-folder/slot') })
  await rm(join(esp, 'EFI/Linux/xos-1.0.efi'))
  await writeFile(join(esp, 'EFI/Linux/xos-1.0.efi'), 'old')
  await t.throwsAsync(run())
  t.deepEqual((await listEntries(esp)).map(({ version }) => version), ['1.0'])
  t.deepEqual(await grub(esp), { xos_version: '1.0', xos_before: '', xos_tries: '' })
})

for (const [a, b, order] of [['1.0', '1.0', 0], ['1.10', '1.9', 1], ['0.1.0.202611222229', '0.1.0.202611222230', -1], ['2', '10', -1], ['1.0', '1.0.1', -1], ['1.0a', '1.0b', -1]] as const) {
  test(`version ${a} compared with ${b} is ${order}`, (t) => {
    t.is(compareVersions(a, b), order)
    t.is(compareVersions(b, a), order === 0 ? 0 : -order)
  })
}
