// npm run image -- FLAVOUR: builds an image. npm run image -- boot FLAVOUR: starts it in QEMU. See image/README.md.
import { basename, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { settle } from './build/build.mjs'
import { buildImage, prepareRoots } from './image/builder.mjs'
import { OUTPUTS, flavourNames, readFlavour } from './image/flavour.mjs'
import { missingPackages } from './lib/debian.mjs'
import { SetupError } from './lib/errors.mjs'
import { build } from './lib/paths.mjs'
import { createProgress } from './lib/progress.mjs'
import { program, setUp, setupLog } from './setup.mjs'

const usage = () => `usage: npm run image -- FLAVOUR [--output FOLDER] [--version V] [--key FOLDER] [--packages FOLDER] [--only OUTPUT,…] [--json]
       npm run image -- boot FLAVOUR [--uefi | --bios] [--iso] [--memory MIB] [--keep] [--output FOLDER]

${flavourNames().map((name) => readFlavour(name)).map(({ name, title, outputs }) => `  ${name.padEnd(17)} ${title.replace(/^XtreemOS /, '')}; makes ${outputs.join(', ')}`).join('\n')}

  --output FOLDER   where the image files go (build/image/FLAVOUR)
  --version V       the image's version: digits, letters, dots (of package.json, and the time of the last commit)
  --key FOLDER      sign with the keys in FOLDER: update.key update.pub boot.key boot.crt (image/README.md); else development keys of this clone
  --packages FOLDER take our Debian packages from there instead of building them
  --only OUTPUTS    make these outputs only: root (its parts as files), netboot (for the head of a cluster), disk, iso, update (for xos-update)
  --json            print what was made as JSON

boot starts the newest image of that flavour in QEMU; this terminal is its serial console. The first login is root's, who sets a password.

  --uefi, --bios    the firmware that the machine starts with (UEFI)
  --iso             start the ISO instead of the disk
  --keep            keep the machine's disk, and go on with it the next time
  --memory MIB      the machine's memory (1024)`

await program(async (signal) => {
  const { values, positionals } = readArguments(process.argv.slice(2))
  if (values.help || positionals.length === 0) {
    process.stdout.write(`${usage()}\n`)
    return values.help ? 0 : 2
  }
  const extra = positionals[positionals[0] === 'boot' ? 2 : 1]
  if (extra !== undefined) throw new SetupError('XOS_USAGE', `'${extra}' is one word too many\n${usage()}`)
  if (positionals[0] === 'boot') {
    const { bootImage } = await import('./image/boot.mjs')
    return await bootImage({ flavour: readFlavour(positionals[1] ?? 'pc').name, ...values, output: values.output && resolve(values.output), log: setupLog, signal })
  }
  return await make(positionals[0], values, signal)
})

async function make(name, values, signal) {
  readFlavour(name)
  const outputs = values.only?.split(',')
  const unknown = outputs?.find((output) => !OUTPUTS.includes(output))
  if (unknown !== undefined) throw new SetupError('XOS_USAGE', `cannot make '${unknown}' of an image; there are ${OUTPUTS.join(', ')}`)
  const progress = createProgress(values.json ? process.stderr : process.stdout)
  const begun = performance.now()
  // Nothing of the roots depends on our own programs; what makes roots is there, or set-up installs it first.
  const early = missingPackages().length === 0 ? prepareRoots(readFlavour(name), { log: setupLog, signal, progress }) : null
  const [{ root, typeErrors, missing }] = await settle([values.packages === undefined ? setUp('npm run image', { progress, signal }) : { root: '', typeErrors: [], missing: [] }, early])
  if (typeErrors.length > 0 || missing.length > 0) throw new SetupError('XOS_BUILD_INCOMPLETE', `cannot make an image of a build with errors: ${[...missing, ...typeErrors].slice(0, 3).join('; ')}`, { log: setupLog })
  const output = values.output === undefined ? join(build, 'image', name) : resolve(values.output)
  const made = await buildImage({ flavour: name, output, version: values.version, keyFolder: values.key && resolve(values.key), outputs, gridRoot: root, packages: values.packages && resolve(values.packages), log: setupLog, signal, progress })
  progress.end()
  if (values.json) process.stdout.write(`${JSON.stringify(made, null, 2)}\n`)
  else {
    process.stdout.write(`\n  ${name} ${made.version}, made in ${Math.round((performance.now() - begun) / 1000)} s; root hash ${made.rootHash}\n`)
    for (const { path, bytes } of made.files) process.stdout.write(`  ${String(Math.ceil(bytes / 2 ** 20)).padStart(5)} MiB  ${path.startsWith(output) ? join(output, basename(path)) : path}\n`)
  }
  return 0
}

function readArguments(args) {
  try {
    return parseArgs({ args, allowPositionals: true, options: {
      output: { type: 'string' }, version: { type: 'string' }, key: { type: 'string' }, packages: { type: 'string' }, only: { type: 'string' }, json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' },
      uefi: { type: 'boolean' }, bios: { type: 'boolean' }, iso: { type: 'boolean' }, keep: { type: 'boolean' }, memory: { type: 'string' },
    } })
  } catch (error) {
    throw new SetupError('XOS_USAGE', `${error.message}\n${usage()}`)
  }
}
