// npm run package: the Debian packages in build/packages, from what the build makes. `-- --version V --out FOLDER` for trying an upgrade.
import { basename, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { makePackages, packagesOut } from './package/package.mjs'
import { SetupError } from './lib/errors.mjs'
import { build } from './lib/paths.mjs'
import { createProgress } from './lib/progress.mjs'
import { program, setUp, setupLog } from './setup.mjs'

await program(async (signal) => {
  const { values } = readArguments()
  const progress = createProgress(process.stdout)
  const { root, typeErrors, missing } = await setUp('npm run package', { progress, signal })
  if (typeErrors.length > 0 || missing.length > 0) return 1
  const { made, files } = await progress.step('make the Debian packages', 40, (note) => makePackages(root, { log: setupLog, signal, note, ...values }))
  for (const file of files) progress.say(`  ${made.includes(basename(file).split('_')[0]) ? 'made' : 'kept'} ${file}`)
  progress.end()
  return 0
})

function readArguments() {
  try {
    const { values: { version, out } } = parseArgs({ options: { version: { type: 'string' }, out: { type: 'string' } } })
    if (version !== undefined && !/^[0-9][0-9A-Za-z.+~-]*$/.test(version)) throw new Error(`'${version}' is no version of Debian's kind`)
    const folder = out === undefined ? packagesOut : resolve(out)
    if (!folder.startsWith(`${build}/`)) throw new Error(`'${folder}' is not below '${build}'`)
    return { values: { ...(version === undefined ? {} : { version }), out: folder } }
  } catch (error) {
    throw new SetupError('XOS_USAGE', `${error.message}\nusage: npm run package -- [--version V] [--out FOLDER below build/]`)
  }
}
