import test from 'ava'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { debianMirror } from '../../../src/setup/image/mirror.mjs'

function etc (files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'xos-apt-'))
  mkdirSync(join(folder, 'sources.list.d'))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  return folder
}

const found = test.macro((t, files: Record<string, string>, expected: string | null) => {
  const folder = etc(files)
  try {
    if (expected === null) t.is(t.throws(() => debianMirror(folder))?.code, 'XOS_SETUP_MIRROR')
    else t.is(debianMirror(folder), expected)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

const one = 'deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian/ bookworm main contrib # ours\n'
const stanza = 'Types: deb deb-src\n# a comment\nURIs: http://a.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By:\n -----BEGIN\n .\n abc\n'

test('the one-line format, with options, comments and a slash at the end', found, { 'sources.list': `# deb http://no.example/debian x main\n${one}` }, 'http://mirror.example/debian')
test('the stanza format, with a key inside', found, { 'sources.list.d/debian.sources': stanza }, 'http://a.example/debian')
test('a source of security updates is no mirror', found, {
  'sources.list': 'deb http://s.example/debian-security bookworm-security main\ndeb http://s.example/debian bookworm-security main\n', 'sources.list.d/x.list': one,
}, 'http://mirror.example/debian')
test('a switched-off stanza is passed over', found, { 'sources.list.d/a.sources': `Enabled: no\n${stanza}`, 'sources.list.d/b.list': one }, 'http://mirror.example/debian')
test("somebody else's packages are no mirror", found, { 'sources.list.d/node.list': 'deb https://deb.node.example/node_20.x nodistro main\n' }, null)
test('no sources at all', found, {}, null)
