// Our own programs for an image: the Debian packages, made from what the build lays out.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { makePackages } from '../package/package.mjs'
import { SetupError } from '../lib/errors.mjs'

/**
 * Paths of the .deb files of the named packages. @param {readonly string[]} names @param {string} root the root that they are built in
 * @param {{log: string, signal?: AbortSignal, note?: (text: string) => void}} options
 */
export async function packagedPrograms(names, root, options) {
  const { files } = await makePackages(root, options)
  return pick(names, files, 'image/packages makes none of that name')
}

/** The same out of a folder of finished packages. @param {readonly string[]} names @param {string} folder */
export function findPrograms(names, folder) {
  const files = readdirSync(folder).filter((name) => name.endsWith('.deb')).map((name) => join(folder, name))
  return pick(names, files, `'${folder}' has none of that name`)
}

function pick(names, files, why) {
  return names.map((name) => {
    const path = files.find((file) => file.includes(`/${name}_`))
    if (path === undefined) throw new SetupError('XOS_IMAGE_DECLARATION', `cannot put the package '${name}' into the image: ${why}`)
    return path
  })
}
