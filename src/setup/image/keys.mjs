// The keys that an image is signed with. Made once a clone for development; who ships images gives a folder of his own (--key).
import { generateKeyPairSync } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SetupError } from '../lib/errors.mjs'
import { build } from '../lib/paths.mjs'

const NAMES = { updateKey: 'update.key', updatePublic: 'update.pub', bootKey: 'boot.key', bootCertificate: 'boot.crt' }
/** Certificates of development keys say so, and are good for twenty years: firmware checks no dates. */
const SUBJECT = '/CN=XtreemOS development boot key/'

export const developmentKeys = join(build, 'image/keys')

/**
 * Paths of the four files: `update.key`, `update.pub` (Ed25519, PEM: what updates are signed and checked by), `boot.key`, `boot.crt`
 * (RSA 2048 and an X.509 certificate: kernels and boot loaders, for Secure Boot and for GRUB). Development keys are made on first use.
 * @param {string | undefined} folder @param {(command: readonly string[]) => Promise<string>} tool
 * @returns {Promise<{folder: string, isDevelopment: boolean, updateKey: string, updatePublic: string, bootKey: string, bootCertificate: string}>}
 */
export async function findKeys(folder, tool) {
  const where = folder ?? developmentKeys
  const paths = Object.fromEntries(Object.entries(NAMES).map(([key, name]) => [key, join(where, name)]))
  const missing = Object.values(NAMES).filter((name) => !existsSync(join(where, name)))
  if (missing.length > 0 && folder !== undefined) {
    throw new SetupError('XOS_IMAGE_KEY', `cannot sign with the keys in '${folder}': ${missing.join(', ')} ${missing.length > 1 ? 'are' : 'is'} missing; image/README.md says how to make them`)
  }
  if (missing.length > 0) await makeDevelopmentKeys(where, tool)
  if (folder !== undefined) checkPair(paths)
  return { folder: where, isDevelopment: folder === undefined, ...paths }
}

async function makeDevelopmentKeys(where, tool) {
  const partial = `${where}.partial`
  rmSync(partial, { recursive: true, force: true })
  mkdirSync(partial, { recursive: true, mode: 0o700 })
  const update = generateKeyPairSync('ed25519')
  writeFileSync(join(partial, NAMES.updateKey), update.privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  writeFileSync(join(partial, NAMES.updatePublic), update.publicKey.export({ type: 'spki', format: 'pem' }))
  await tool(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '7300', '-subj', SUBJECT,
    '-keyout', join(partial, NAMES.bootKey), '-out', join(partial, NAMES.bootCertificate)])
  rmSync(where, { recursive: true, force: true })
  renameSync(partial, where)
}

function checkPair(paths) {
  for (const [path, mark] of [[paths.updateKey, 'PRIVATE KEY'], [paths.updatePublic, 'PUBLIC KEY'], [paths.bootKey, 'PRIVATE KEY'], [paths.bootCertificate, 'CERTIFICATE']]) {
    if (!readFileSync(path, 'utf8').includes(`${mark}-----`)) throw new SetupError('XOS_IMAGE_KEY', `cannot sign with '${path}': it is no PEM file with a ${mark.toLowerCase()}`)
  }
}
