// npm run build: everything that is built, nothing started.
import { createProgress } from './lib/progress.mjs'
import { program, setUp } from './setup.mjs'

await program(async (signal) => {
  const progress = createProgress(process.stdout)
  const { typeErrors, missing } = await setUp('npm run build', { progress, signal })
  progress.end()
  return typeErrors.length > 0 || missing.length > 0 ? 1 : 0
})
