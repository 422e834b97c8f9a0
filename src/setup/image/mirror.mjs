import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { SetupError } from '../lib/errors.mjs'

/**
 * The Debian mirror that this machine itself is installed from, taken from its apt sources (both formats, see sources.list(5)).
 * The environment variable XOS_MIRROR overrides it. Throws XOS_SETUP_MIRROR when there is none.
 * @param {string} [etc] the folder of apt's configuration
 */
export function debianMirror(etc = '/etc/apt') {
  if (process.env['XOS_MIRROR']) return process.env['XOS_MIRROR']
  const found = [...readEntries(etc)].find((entry) => entry.components.includes('main') && !entry.uri.startsWith('cdrom:') &&
    !/-security$|\/updates$/.test(entry.suite) && !/security/.test(entry.uri) && /\/debian\/?$/.test(entry.uri))
  if (!found) {
    throw new SetupError('XOS_SETUP_MIRROR', `cannot find a Debian mirror in '${etc}': no source of suite main with a path that ends in /debian; ` +
      'add one, or give it as XOS_MIRROR=URI')
  }
  return found.uri.replace(/\/$/, '')
}

function* readEntries(etc) {
  const files = [join(etc, 'sources.list')]
  try {
    for (const name of readdirSync(join(etc, 'sources.list.d')).sort()) files.push(join(etc, 'sources.list.d', name))
  } catch { /* the folder is optional */ }
  for (const file of files) {
    let text
    try {
      text = readFileSync(file, 'utf8')
    } catch {
      continue
    }
    if (file.endsWith('.sources')) yield* parseDeb822(text)
    else if (file.endsWith('.list')) yield* parseOneLine(text)
  }
}

function* parseOneLine(text) {
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+([^#]*)/.exec(line)
    if (match) yield { uri: match[1], suite: match[2], components: match[3].trim().split(/\s+/) }
  }
}

function* parseDeb822(text) {
  for (const stanza of text.replace(/^#.*\n/gm, '').split(/\n\s*\n/)) {
    const field = (name) => new RegExp(`^${name}:((?:.*(?:\\n[ \\t].*)*))`, 'mi').exec(stanza)?.[1].trim().split(/\s+/) ?? []
    if (!field('Types').includes('deb') || field('Enabled')[0]?.toLowerCase() === 'no') continue
    for (const uri of field('URIs')) for (const suite of field('Suites')) yield { uri, suite, components: field('Components') }
  }
}
