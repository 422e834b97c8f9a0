import { createHash, generateKeyPairSync } from 'node:crypto'
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { writeSigned } from '../../src/setup/image/update.mjs'
import { checkParts, openBundle, partNames } from '../../src/update/bundle.ts'

const keys = generateKeyPairSync('ed25519')
const others = generateKeyPairSync('ed25519')
const pem = (pair: typeof keys): string => pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
const contents = new Map(partNames.map((name, index) => [name, Buffer.alloc(index === 0 ? 3 * 1024 * 1024 + 5 : 100 + index, index + 1)]))

interface Listed { name: string, bytes: number, sha256: string }
const listed = (): Listed[] => partNames.map((name) => {
  const data = contents.get(name) ?? Buffer.alloc(0)
  return { name, bytes: data.length, sha256: createHash('sha256').update(data).digest('hex') }
})
const manifest = (over: object = {}): object => ({ flavour: 'pc', version: '2.0', uuid: 'u', hash: 'h', parts: listed(), ...over })

async function made (t: ExecutionContext, over: object = {}, key = keys): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'xos-bundle-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'bundle')
  writeSigned(path, manifest(over), [...contents.values()], pem(key))
  return path
}

async function opening (t: ExecutionContext, path: string): Promise<Awaited<ReturnType<typeof openBundle>>> {
  const file = await open(path)
  t.teardown(() => file.close())
  return await openBundle(file, path, keys.publicKey)
}

test('a bundle is read as it was written', async (t) => {
  const path = await made(t)
  const bundle = await opening(t, path)
  t.is(bundle.version, '2.0')
  await t.notThrowsAsync(checkParts(bundle, path))
})

test('a bundle that somebody else signed is refused', async (t) => {
  await t.throwsAsync(opening(t, await made(t, {}, others)), { code: 'XOS_UPDATE_SIGNATURE' })
})

const changes: readonly { readonly what: string, readonly at: (length: number) => number, readonly code: string }[] = [
  { what: 'its mark', at: () => 0, code: 'XOS_UPDATE_BUNDLE' },
  { what: 'the length of its manifest', at: () => 8, code: 'XOS_UPDATE_SIGNATURE' },
  { what: 'its manifest', at: () => 20, code: 'XOS_UPDATE_SIGNATURE' },
  { what: 'its signature', at: (length) => 12 + length + 3, code: 'XOS_UPDATE_SIGNATURE' },
  { what: 'its first part', at: (length) => 12 + length + 64, code: 'XOS_UPDATE_BUNDLE' },
  { what: 'its last byte', at: () => -1, code: 'XOS_UPDATE_BUNDLE' },
]
for (const { what, at, code } of changes) {
  test(`a bundle with one bit of ${what} changed is refused`, async (t) => {
    const path = await made(t)
    const data = await readFile(path)
    const place = at(data.readUInt32LE(8))
    const index = place < 0 ? data.length + place : place
    data.writeUInt8(data.readUInt8(index) ^ 1, index)
    await writeFile(path, data)
    await t.throwsAsync(async () => checkParts(await opening(t, path), path), { code })
  })
}

for (const length of [0, 11, 12, 100, -1]) {
  test(`a bundle cut to ${length} bytes is refused`, async (t) => {
    const path = await made(t)
    const data = await readFile(path)
    await writeFile(path, data.subarray(0, length < 0 ? data.length + length : length))
    await t.throwsAsync(async () => checkParts(await opening(t, path), path), { code: 'XOS_UPDATE_BUNDLE' })
  })
}

const wrong: readonly { readonly what: string, readonly over: object }[] = [
  { what: 'a part too few', over: { parts: listed().slice(1) } },
  { what: 'a part that is a path', over: { parts: [...listed(), { name: '../../etc/passwd', bytes: 1, sha256: 'a'.repeat(64) }] } },
  { what: 'a part twice', over: { parts: [...listed(), ...listed().slice(0, 1)] } },
  { what: 'a part of no bytes', over: { parts: listed().map((part, index) => (index === 1 ? { ...part, bytes: 0 } : part)) } },
  { what: 'a version that is a path', over: { version: '1/../../x' } },
  { what: 'no flavour', over: { flavour: undefined } },
]
for (const { what, over } of wrong) {
  test(`a signed bundle with ${what} is refused`, async (t) => {
    await t.throwsAsync(opening(t, await made(t, over)), { code: 'XOS_UPDATE_BUNDLE' })
  })
}
