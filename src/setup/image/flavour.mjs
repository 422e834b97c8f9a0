// A flavour of image: a folder in image/ that declares what is in it and what comes out (image/README.md).
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { SetupError } from '../lib/errors.mjs'
import { clone } from '../lib/paths.mjs'

/** What can be made of a flavour's root. */
export const OUTPUTS = ['root', 'netboot', 'disk', 'iso', 'update']

/**
 * @typedef {{name: string, title: string, roots: string[], programs: string[], outputs: string[],
 *   root: {format: 'erofs' | 'squashfs', options: string[]},
 *   kernel: {commandLine: string, modules_without: string[], initrd_always: string[], initrd_modules: string[]},
 *   disk?: {esp_mib: number, slot_mib: number, data_mib: number}}} Flavour
 */

/** Names of the flavours that an image can be made of: folders with a flavour.json. @param {string} [folder] */
export function flavourNames(folder = join(clone, 'image')) {
  return readdirSync(folder).filter((name) => existsSync(join(folder, name, 'flavour.json'))).sort()
}

/**
 * Reads and checks one; throws XOS_IMAGE_FLAVOUR for an unknown name, XOS_IMAGE_DECLARATION for a declaration with a mistake.
 * @param {string} name @param {string} [folder] @returns {Flavour}
 */
export function readFlavour(name, folder = join(clone, 'image')) {
  const path = join(folder, name, 'flavour.json')
  if (!flavourNames(folder).includes(name)) {
    throw new SetupError('XOS_IMAGE_FLAVOUR', `cannot make the image '${name}': there is no such flavour; there are ${flavourNames(folder).join(', ')}`)
  }
  let value
  try {
    value = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw wrong(path, `it is not JSON: ${error.message}`, error)
  }
  const known = { title: isText, roots: isWords, programs: isWords, outputs: isWords, root: isObject, kernel: isObject, disk: isObject }
  for (const key of Object.keys(value)) if (!(key in known)) throw wrong(path, `nothing is called '${key}'; there are ${Object.keys(known).join(', ')}`)
  for (const [key, check] of Object.entries(known)) {
    if (key === 'disk' && value.disk === undefined) continue
    if (!check(value[key])) throw wrong(path, `'${key}' is missing or of the wrong type`)
  }
  if (!['erofs', 'squashfs'].includes(value.root.format) || !isWords(value.root.options)) throw wrong(path, "'root' needs a format (erofs or squashfs) and options")
  if (!isText(value.kernel.commandLine) || !['modules_without', 'initrd_always', 'initrd_modules'].every((key) => isWords(value.kernel[key]))) {
    throw wrong(path, "'kernel' needs commandLine, modules_without, initrd_always and initrd_modules")
  }
  const unknown = value.outputs.find((output) => !OUTPUTS.includes(output))
  if (unknown !== undefined) throw wrong(path, `nothing can be made that is called '${unknown}'; there are ${OUTPUTS.join(', ')}`)
  if (value.outputs.includes('disk') && !['esp_mib', 'slot_mib', 'data_mib'].every((key) => Number.isInteger(value.disk?.[key]) && value.disk[key] > 0)) {
    throw wrong(path, "a disk image needs 'disk' with esp_mib, slot_mib and data_mib")
  }
  return { name, ...value }
}

function wrong(path, what, cause) {
  return new SetupError('XOS_IMAGE_DECLARATION', `cannot read the flavour '${path}': ${what}`, { cause })
}

const isText = (value) => typeof value === 'string' && value !== ''
const isWords = (value) => Array.isArray(value) && value.every((word) => typeof word === 'string')
const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value)
