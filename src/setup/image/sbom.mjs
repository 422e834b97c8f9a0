// The bill of materials of an image: SPDX 2.3 as JSON, from dpkg's own records (packages, versions, sources, licence files) and package-lock.json.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { clone } from '../lib/paths.mjs'

/**
 * @param {import('./context.mjs').Context} context @param {import('./context.mjs').Made} made
 * @returns {[string, string][]}
 */
export function writeSbom({ flavour, identity, kernel, tools, work, output }, { root, base }) {
  const name = `xtreemos-${flavour.name}-${identity.version}`
  const status = readStatus(readFileSync(join(work, 'dpkg-status'), 'utf8'))
  // The kernel comes from the tools root: the package whose modules and image are in this one.
  const kernelPackage = readStatus(readFileSync(join(tools, 'var/lib/dpkg/status'), 'utf8')).filter(({ Package }) => Package === `linux-image-${kernel.version}`)
  const packages = [
    ...[...status, ...kernelPackage].map((fields) => debianPackage(fields, fields.Package.startsWith('linux-image') ? tools : base)),
    ...npmPackages(),
  ]
  const document = {
    spdxVersion: 'SPDX-2.3', dataLicense: 'CC0-1.0', SPDXID: 'SPDXRef-DOCUMENT', name, documentNamespace: `urn:uuid:${identity.uuid('sbom')}`,
    creationInfo: { created: new Date(identity.epoch * 1000).toISOString().replace('.000', ''), creators: ['Tool: xtreemos-image'] },
    packages: [{ SPDXID: 'SPDXRef-image', name: `xtreemos-${flavour.name}`, versionInfo: identity.version, downloadLocation: 'NOASSERTION', licenseConcluded: 'NOASSERTION', copyrightText: 'NOASSERTION',
      comment: `root hash ${root.hash}` }, ...packages],
    relationships: [{ spdxElementId: 'SPDXRef-DOCUMENT', relationshipType: 'DESCRIBES', relatedSpdxElement: 'SPDXRef-image' },
      ...packages.map(({ SPDXID }) => ({ spdxElementId: 'SPDXRef-image', relationshipType: 'CONTAINS', relatedSpdxElement: SPDXID }))],
  }
  const partial = join(output, `${name}.spdx.json.partial`)
  writeFileSync(partial, `${JSON.stringify(document, null, 1)}\n`)
  return [[partial, `${name}.spdx.json`]]
}

/** Installed packages of a dpkg status file. @param {string} text @returns {Record<string, string>[]} by name */
export function readStatus(text) {
  return text.split('\n\n').map((stanza) => Object.fromEntries([...stanza.matchAll(/^([A-Za-z-]+): (.*)$/gm)].map(([, name, value]) => [name, value])))
    .filter((fields) => fields.Package && fields.Status?.endsWith(' installed')).sort((a, b) => (a.Package < b.Package ? -1 : 1))
}

function debianPackage(fields, root) {
  const [, source = fields.Package, sourceVersion = fields.Version] = /^(\S+)(?: \((.*)\))?$/.exec(fields.Source ?? fields.Package) ?? []
  const licence = join(root, 'usr/share/doc', fields.Package, 'copyright')
  const hash = existsSync(licence) ? createHash('sha256').update(readFileSync(licence)).digest('hex') : null
  return {
    SPDXID: reference('deb', fields.Package), name: fields.Package, versionInfo: fields.Version, supplier: 'NOASSERTION', downloadLocation: 'NOASSERTION', filesAnalyzed: false,
    licenseConcluded: 'NOASSERTION', copyrightText: 'NOASSERTION', sourceInfo: `built from ${source} ${sourceVersion}`,
    ...(hash === null ? {} : { licenseComments: `/usr/share/doc/${fields.Package}/copyright, SHA-256 ${hash}` }),
    externalRefs: [{ referenceCategory: 'PACKAGE-MANAGER', referenceType: 'purl', referenceLocator: `pkg:deb/debian/${fields.Package}@${encodeURIComponent(fields.Version)}?arch=${fields.Architecture}` }],
  }
}

/** What our own package xtreemos-runtime has in node_modules. */
function npmPackages() {
  const lock = JSON.parse(readFileSync(join(clone, 'package-lock.json'), 'utf8'))
  return Object.entries(lock.packages).filter(([path, entry]) => path.startsWith('node_modules/') && !entry.dev && !entry.devOptional).map(([path, entry]) => {
    const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
    return {
      SPDXID: reference('npm', `${name}-${entry.version}`), name, versionInfo: entry.version, downloadLocation: 'NOASSERTION', filesAnalyzed: false,
      licenseConcluded: 'NOASSERTION', licenseDeclared: /^[A-Za-z0-9.+-]+$/.test(entry.license ?? '') ? entry.license : 'NOASSERTION', copyrightText: 'NOASSERTION',
      externalRefs: [{ referenceCategory: 'PACKAGE-MANAGER', referenceType: 'purl', referenceLocator: `pkg:npm/${name.replace('@', '%40')}@${entry.version}` }],
    }
  })
}

const reference = (kind, name) => `SPDXRef-${kind}-${name.replace(/[^A-Za-z0-9.-]/g, '-')}`

