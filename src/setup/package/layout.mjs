// One package's files as they land, with the control data that Debian wants beside them.
import { chmodSync, copyFileSync, lstatSync, lutimesSync, mkdirSync, readFileSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { dirname, join } from 'node:path'
import { packagesFolder } from './declaration.mjs'

/** @typedef {import('./declaration.mjs').Package} Package */

/** Lays the files out in `folder`, which is made anew. Modes are 0755 and 0644, whatever the checkout's mask was. @param {string} folder @param {Map<string, string>} files @param {Package} pack */
export function layFiles(folder, files, pack) {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const [to, from] of files) {
    const target = join(folder, to)
    mkdirSync(dirname(target), { recursive: true })
    const stat = lstatSync(from)
    if (stat.isSymbolicLink()) symlinkSync(readlinkSync(from), target)
    else {
      copyFileSync(from, target)
      chmodSync(target, stat.mode & 0o100 ? 0o755 : 0o644)
    }
  }
  const documents = join(folder, 'usr/share/doc', pack.name)
  mkdirSync(documents, { recursive: true })
  for (const name of ['changelog', 'copyright']) copyFileSync(join(packagesFolder, name), join(documents, name))
  for (const name of ['changelog', 'copyright']) chmodSync(join(documents, name), 0o644)
}

/**
 * Writes DEBIAN/: control, md5sums, conffiles, scripts, triggers. The files must be as they will be packed.
 * @param {string} folder @param {Package} pack @param {{version: string, fill: (text: string) => string}} values
 */
export function writeControl(folder, pack, { version, fill }) {
  const control = join(folder, 'DEBIAN')
  const files = [...regularFiles(folder, '')]
  mkdirSync(control, { recursive: true })
  const kib = files.reduce((sum, path) => sum + Math.ceil(lstatSync(join(folder, path)).size / 1024), 0)
  const fields = new Map([['Package', pack.name], ['Source', 'xtreemos'], ['Version', version], ...pack.fields, ['Installed-Size', String(kib)], ['Maintainer', 'The XtreemOS founders <root@localhost>']])
  const text = [...fields].map(([name, value]) => `${name}: ${fill(value)}\n`).join('')
  writeFileSync(join(control, 'control'), text)
  const sums = files.filter((path) => !path.startsWith('etc/')).map((path) => `${createHash('md5').update(readFileSync(join(folder, path))).digest('hex')}  ${path}\n`)
  writeFileSync(join(control, 'md5sums'), sums.join(''))
  const conffiles = files.filter((path) => path.startsWith('etc/'))
  if (conffiles.length > 0) writeFileSync(join(control, 'conffiles'), conffiles.map((path) => `/${path}\n`).join(''))
  if (pack.triggers !== null) writeFileSync(join(control, 'triggers'), pack.triggers)
  for (const name of pack.scripts) writeFileSync(join(control, name), fill(readFileSync(join(pack.folder, name), 'utf8')))
  for (const name of readdirSync(control)) chmodSync(join(control, name), pack.scripts.includes(name) ? 0o755 : 0o644)
}

/** Gives every file, link and folder the date of the release: the day of the build is no input. @param {string} folder @param {number} epoch_s */
export function setDates(folder, epoch_s) {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name)
    if (lstatSync(path).isDirectory()) setDates(path, epoch_s)
    else lutimesSync(path, epoch_s, epoch_s)
  }
  chmodSync(folder, 0o755)
  lutimesSync(folder, epoch_s, epoch_s)
}

/** @param {string} root @param {string} folder @returns {Generator<string>} regular files, without DEBIAN/ */
export function* regularFiles(root, folder) {
  for (const name of readdirSync(join(root, folder)).sort()) {
    if (folder === '' && name === 'DEBIAN') continue
    const path = folder === '' ? name : `${folder}/${name}`
    const stat = lstatSync(join(root, path))
    if (stat.isDirectory()) yield* regularFiles(root, path)
    else if (stat.isFile()) yield path
  }
}
