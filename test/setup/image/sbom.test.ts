import test from 'ava'
import { readStatus } from '../../../src/setup/image/sbom.mjs'

test('of a status file the packages that are installed count, by name', (t) => {
  const text = `Package: b
Status: install ok installed
Version: 2-1
Source: bee (2-0)
Description: more
 than one line: with a colon

Package: gone
Status: deinstall ok config-files
Version: 1

Package: a
Status: install ok installed
Version: 1
`
  t.deepEqual(readStatus(text).map(({ Package, Version, Source }) => ({ Package, Version, Source })), [
    { Package: 'a', Version: '1', Source: undefined }, { Package: 'b', Version: '2-1', Source: 'bee (2-0)' },
  ])
})
