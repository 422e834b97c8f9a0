import test from 'ava'
import { formatUuid, makeIdentity } from '../../../src/setup/image/identity.mjs'

test('what names an image follows from flavour, version and purpose, and from nothing else', (t) => {
  const [one, same] = [makeIdentity('pc', '1.0'), makeIdentity('pc', '1.0')]
  t.is(one.uuid('disk'), same.uuid('disk'))
  t.is(one.bytes('salt', 32), same.bytes('salt', 32))
  const all = [one.uuid('disk'), one.uuid('data'), makeIdentity('pc', '1.1').uuid('disk'), makeIdentity('mobile', '1.0').uuid('disk')]
  t.is(new Set(all).size, all.length)
  t.is(one.bytes('salt', 32).length, 64)
  for (const uuid of all) t.regex(uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
})

test('a UUID keeps the digits that are not its version and variant', (t) => {
  t.is(formatUuid('00112233445566778899aabbccddeeff'), '00112233-4455-8677-8899-aabbccddeeff')
})

test('the version by default is that of the sources, and sorts by the time of the commit', (t) => {
  t.regex(makeIdentity('pc').version, /^\d+\.\d+\.\d+\.\d{12}$/)
})

for (const version of ['', 'v1', '../1', '1 0', `1${'0'.repeat(64)}`, '1+3']) {
  test(`'${version.slice(0, 12)}' is refused as a version`, (t) => {
    t.throws(() => makeIdentity('pc', version), { code: 'XOS_USAGE' })
  })
}
