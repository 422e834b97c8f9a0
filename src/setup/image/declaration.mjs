import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { hashInputs } from '../lib/hash.mjs'
import { clone } from '../lib/paths.mjs'

/**
 * What an image root consists of, read from the flavours' folders in image/ (first the base, then what is laid on it).
 * The extra trees are not part of it: they are laid over the root with our own files (see build/stage.mjs), so that a changed
 * service file needs no new root. A line `-NAME` in a flavour's packages takes away what a folder before it asked for.
 * @param {readonly string[]} [flavours]
 */
export function readDeclaration(flavours = ['base', 'grid']) {
  const folder = (flavour) => join(clone, 'image', flavour)
  const words = (name) => flavours.flatMap((flavour) => readWords(join(folder(flavour), name)))
  const hooks = flavours.flatMap((flavour) => list(join(folder(flavour), 'hooks')).map((name) => ({ name, path: join(folder(flavour), 'hooks', name) })))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
  return {
    flavours,
    packages: resolvePackages(words('packages')),
    exclude: words('exclude'),
    suites: JSON.parse(readFileSync(join(folder('base'), 'suites.json'), 'utf8')).suites,
    pins: join(folder('base'), 'pins'),
    localPrograms: join(folder('base'), 'local-programs'),
    hooks: hooks.map((hook) => hook.path),
    hash: hashInputs(clone, [
      ...flavours.flatMap((flavour) => ['packages', 'exclude', 'hooks'].map((name) => `image/${flavour}/${name}`)),
      'image/base/suites.json', 'image/base/pins', 'image/base/local-programs', 'src/setup/image/mark.mjs', 'src/setup/image/root.mjs',
    ]),
  }
}

function resolvePackages(words) {
  const packages = new Set()
  for (const word of words) {
    if (word.startsWith('-')) packages.delete(word.slice(1))
    else packages.add(word)
  }
  return [...packages].sort()
}

function readWords(path) {
  try {
    return readFileSync(path, 'utf8').split('\n').map((line) => line.replace(/#.*$/, '').trim()).filter((line) => line !== '')
  } catch {
    return []
  }
}

function list(folder) {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
