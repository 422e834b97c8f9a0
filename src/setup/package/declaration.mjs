// The packages as image/packages declares them (its README.md has the formats).
import { existsSync, lstatSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { SetupError } from '../lib/errors.mjs'
import { clone } from '../lib/paths.mjs'

export const packagesFolder = join(clone, 'image/packages')
const SCRIPTS = ['preinst', 'postinst', 'prerm', 'postrm']

/**
 * @typedef {{from: string, to: string}} Placed `from` absolute, `to` relative to the root of the package
 * @typedef {{name: string, fields: Map<string, string>, rules: Rule[], tree: string | null, scripts: string[], triggers: string | null, folder: string}} Package
 * @typedef {{take: boolean, source: string, pattern: string, target: string | null}} Rule
 */

/** Version and date of all packages, from the first entry of the changelog. @param {string} [text] */
export function readChangelog(text = readFileSync(join(packagesFolder, 'changelog'), 'utf8')) {
  const version = /^\S+ \(([0-9A-Za-z.+~:-]+)\)/.exec(text)?.[1]
  const date = /^ -- .*?>  (.+)$/m.exec(text)?.[1]
  const seconds = date === undefined ? NaN : Date.parse(date) / 1000
  if (version === undefined || !Number.isInteger(seconds)) throw new SetupError('XOS_PACKAGE', `cannot read '${join(packagesFolder, 'changelog')}': its first entry has no version or no date`)
  return { version, epoch_s: seconds }
}

/** All packages that have a folder, by name. @returns {Package[]} */
export function readPackages() {
  return readdirSync(packagesFolder).sort().filter((name) => existsSync(join(packagesFolder, name, 'control'))).map((name) => {
    const folder = join(packagesFolder, name)
    const tree = join(folder, 'tree')
    return {
      name, folder, fields: readControl(readFileSync(join(folder, 'control'), 'utf8'), name), rules: readRules(readOptional(join(folder, 'files')) ?? '', name),
      tree: existsSync(tree) ? tree : null, scripts: SCRIPTS.filter((script) => existsSync(join(folder, script))), triggers: readOptional(join(folder, 'triggers')),
    }
  })
}

/** Source name → folder below the clone. @returns {Record<string, string>} */
export const readSources = () => JSON.parse(readFileSync(join(packagesFolder, 'sources.json'), 'utf8'))

/** Files and folders of the stage that no package has. */
export const readNotPackaged = () => words(readFileSync(join(packagesFolder, 'not-packaged'), 'utf8')).map(([path]) => path)

/** Fields in their order; a field goes on over lines that begin with a blank. @param {string} text @param {string} name */
export function readControl(text, name) {
  const fields = new Map()
  let last = null
  for (const line of text.split('\n').filter((each) => each.trim() !== '')) {
    const field = /^([A-Za-z-]+): *(.*)$/.exec(line)
    if (field) fields.set(last = field[1], field[2])
    else if (/^[ \t]/.test(line) && last !== null) fields.set(last, `${fields.get(last)}\n${line}`)
    else throw new SetupError('XOS_PACKAGE', `cannot read the control file of package '${name}': line '${line}' is no field`)
  }
  if (fields.get('Package') !== name) throw new SetupError('XOS_PACKAGE', `the control file in folder '${name}' is of package '${fields.get('Package')}'`)
  return fields
}

/** @param {string} text @param {string} name @returns {Rule[]} */
export function readRules(text, name) {
  return words(text).map(([first = '', pattern, target]) => {
    if (pattern === undefined) throw new SetupError('XOS_PACKAGE', `cannot read the file list of package '${name}': '${first}' names no file`)
    return { take: !first.startsWith('!'), source: first.replace(/^!/, ''), pattern, target: target ?? null }
  })
}

/**
 * The files that the rules take, by their place in the package. A rule that takes nothing is an error: what it named is gone.
 * @param {Pick<Package, 'name' | 'rules' | 'tree'>} pack @param {(source: string) => string} sourceFolder @param {(text: string) => string} fill
 * @returns {Map<string, string>} place → source file (or symbolic link), sorted by place
 */
export function selectFiles(pack, sourceFolder, fill) {
  const placed = new Map()
  for (const { take, source, pattern, target } of pack.rules) {
    if (!take) {
      for (const [to, from] of placed) if (from.startsWith(`${sourceFolder(source)}/`) && matches(pattern, from.slice(sourceFolder(source).length + 1))) placed.delete(to)
      continue
    }
    const found = [...expand(sourceFolder(source), pattern)]
    if (found.length === 0) throw new SetupError('XOS_PACKAGE', `cannot make package '${pack.name}': nothing in '${sourceFolder(source)}' is '${pattern}'; is it built?`)
    for (const path of found) placed.set(target === null ? path : fill(target) + path.slice(pattern.length), join(sourceFolder(source), path))
  }
  if (pack.tree !== null) for (const path of filesBelow(pack.tree, '')) placed.set(path, join(pack.tree, path))
  return new Map([...placed].sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** Whether the path, or a folder that it is below of, is what the pattern means. @param {string} pattern @param {string} path */
export function matches(pattern, path) {
  const source = pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/\*\*/g, '\0').replace(/\*/g, '[^/]*').replaceAll('\0', '.*')
  return new RegExp(`^${source}(/.*)?$`).test(path)
}

/** Files below `folder` that the pattern means, relative to it. */
function* expand(folder, pattern) {
  if (!pattern.includes('*')) {
    const stat = lstatSync(join(folder, pattern), { throwIfNoEntry: false })
    if (stat?.isDirectory()) yield* filesBelow(folder, pattern)
    else if (stat) yield pattern
    return
  }
  const fixed = pattern.slice(0, pattern.indexOf('*')).replace(/[^/]*$/, '').replace(/\/$/, '')
  for (const path of filesBelow(folder, fixed)) if (matches(pattern, path)) yield path
}

/** @param {string} root @param {string} folder @returns {Generator<string>} files and links, relative to root */
export function* filesBelow(root, folder) {
  for (const name of readdirSync(join(root, folder)).sort()) {
    const path = folder === '' ? name : `${folder}/${name}`
    if (lstatSync(join(root, path)).isDirectory()) yield* filesBelow(root, path)
    else yield path
  }
}

const words = (text) => text.split('\n').map((line) => line.replace(/(^|\s)#.*$/, '').trim()).filter((line) => line !== '').map((line) => line.split(/\s+/))

function readOptional(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : null
}
