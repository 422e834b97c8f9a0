// Our kernel modules (kmod/) for the image's kernel, signed by the boot key: with Secure Boot a Debian kernel takes modules that a key in the
// firmware's `db` signed, and who starts this image with it has boot.crt there (image/README.md). Without Secure Boot the signature is looked at by nobody.
import { copyFileSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { buildModule, moduleNames } from '../build/kmod.mjs'

/** Folder of the finished .ko files, for image/tools/assemble. */
const FOLDER = 'kmod'

/**
 * Builds what changed, takes the debug information off (it has paths of the builder's machine) and signs.
 * @param {import('./context.mjs').Context} context @param {{bootKey: string, bootCertificate: string}} keys @param {{log: string, signal: AbortSignal}} options
 * @returns {Promise<string[]>} names
 */
export async function makeKernelModules({ work, kernel, tools, tool }, keys, options) {
  const names = moduleNames()
  const folder = join(work, FOLDER)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const name of names) copyFileSync(join(await buildModule(tools, name, options), `${name}.ko`), join(folder, `${name}.ko`))
  const paths = names.map((name) => join(folder, `${name}.ko`))
  if (paths.length === 0) return names
  await tool(['strip', '--strip-debug', '--remove-section=.note.gnu.build-id', ...paths])
  // The same hash that the kernel's own modules are signed with (CONFIG_MODULE_SIG_HASH).
  for (const path of paths) await tool([`${kernel.inside}/build/scripts/sign-file`, 'sha256', keys.bootKey, keys.bootCertificate, path])
  return names
}
