// Which of the system tests a run takes.
import { readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { clone } from '../lib/paths.mjs'

/** What `npm test` runs besides everything else: boots, a network of guests, and a kernel module. */
const ALWAYS = ['test/system/guest.test.ts', 'test/system/kmod/cred.test.ts']

/**
 * @param {boolean} whole all of them @param {readonly string[]} files instead of both, when there are some
 * @returns {{patterns: readonly string[], leftOut: string[]}} `leftOut`: test files that a part run passes over
 */
export function systemTests(whole, files) {
  if (files.length > 0) return { patterns: files, leftOut: [] }
  const all = [...testFiles(join(clone, 'test/system'))].map((path) => relative(clone, path)).sort()
  if (whole) return { patterns: all, leftOut: [] }
  return { patterns: all.filter((path) => ALWAYS.includes(path)), leftOut: all.filter((path) => !ALWAYS.includes(path)) }
}

function* testFiles(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* testFiles(path)
    else if (entry.name.endsWith('.test.ts')) yield path
  }
}
