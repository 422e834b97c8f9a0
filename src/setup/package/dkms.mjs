// dkms.conf of the kernel modules, from the list of module folders; see dkms(8).
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/** Folders of kmod/ that are a module each. @param {string} kmod */
export function moduleFolders(kmod) {
  return readdirSync(kmod, { withFileTypes: true }).filter((entry) => entry.isDirectory() && existsSync(join(kmod, entry.name, 'Kbuild'))).map((entry) => entry.name).sort()
}

/** @param {readonly string[]} modules @param {string} version */
export function dkmsConfiguration(modules, version) {
  const each = modules.flatMap((name, index) => [
    `BUILT_MODULE_NAME[${index}]="${name}"`, `BUILT_MODULE_LOCATION[${index}]="${name}/"`, `DEST_MODULE_LOCATION[${index}]="/updates/dkms"`,
  ])
  return ['PACKAGE_NAME="xtreemos"', `PACKAGE_VERSION="${version}"`, 'AUTOINSTALL="yes"',
    'MAKE[0]="make -C ${kernel_source_dir} M=${dkms_tree}/${PACKAGE_NAME}/${PACKAGE_VERSION}/build modules"', 'CLEAN="true"', ...each, ''].join('\n')
}

/** The Kbuild above the modules' own. @param {readonly string[]} modules */
export const topKbuild = (modules) => `obj-m += ${modules.map((name) => `${name}/`).join(' ')}\n`
