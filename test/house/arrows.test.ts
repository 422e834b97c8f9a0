// Arrows between folders point one way: core <- proto, platform <- services <- daemon, cli.
// (dependency-cruiser would do this; its release of today cannot read TypeScript 7, and silently sees no .ts file at all.)
import test from 'ava'
import { readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { filesBelow, root } from './files.ts'

const services = /^src\/(?:group|vo|account|overlay|job|volume|share|checkpoint)\//

interface Arrow { readonly from: string; readonly to: string }
interface Rule { readonly name: string; readonly broken: (arrow: Arrow) => boolean }

const inside = (folder: string) => (path: string): boolean => path.startsWith(folder)

const rules: readonly Rule[] = [
  { name: 'core knows nobody', broken: ({ from, to }) => inside('src/core/')(from) && !inside('src/core/')(to) },
  { name: 'proto knows nobody', broken: ({ from, to }) => inside('src/proto/')(from) && !inside('src/proto/')(to) },
  {
    name: 'only the daemon imports the daemon',
    broken: ({ from, to }) => inside('src/daemon/')(to) && to !== 'src/daemon/context.ts' && !inside('src/daemon/')(from),
  },
  { name: 'only commands import commands', broken: ({ from, to }) => inside('src/cli/')(to) && !inside('src/cli/')(from) },
  { name: 'services know no platform', broken: ({ from, to }) => services.test(from) && /^src\/(?:platform|grid|setup)\//.test(to) },
]

/** What the text of the file at `path` imports from this tree, types included. */
function arrowsOf (path: string, text: string): Arrow[] {
  const specifiers = [...text.matchAll(/(?:^|\n)\s*(?:import|export)\b[^'"\n]*(?:\{[^}]*\}[^'"\n]*)?['"](\.[^'"]+)['"]/g),
    ...text.matchAll(/\bimport\(\s*['"](\.[^'"]+)['"]\s*\)/g)]
  return specifiers.map((match) => ({ from: path, to: normalize(join(dirname(path), match[1] ?? '')) }))
}

const broken = (arrows: readonly Arrow[]): string[] =>
  rules.flatMap((rule) => arrows.filter(rule.broken).map(({ from, to }) => `${rule.name}: ${from} -> ${to}`))

/** One circle of imports, as a list of files, or null. */
function circleAmong (arrows: readonly Arrow[]): string[] | null {
  const targets = new Map<string, string[]>()
  for (const { from, to } of arrows) targets.set(from, [...targets.get(from) ?? [], to])
  const done = new Set<string>()
  const visit = (path: string, trail: string[]): string[] | null => {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path]
    if (done.has(path)) return null
    for (const next of targets.get(path) ?? []) {
      const circle = visit(next, [...trail, path])
      if (circle) return circle
    }
    done.add(path)
    return null
  }
  for (const path of targets.keys()) {
    const circle = visit(path, [])
    if (circle) return circle
  }
  return null
}

const arrows = [...filesBelow(join(root, 'src'))].filter((path) => /\.(?:ts|mjs)$/.test(path))
  .flatMap((path) => arrowsOf(path, readFileSync(join(root, path), 'utf8')))

test('no import points the wrong way', (t) => {
  t.true(arrows.length > 50, 'the imports were seen')
  t.deepEqual(broken(arrows), [])
})

test('no circle of imports', (t) => {
  t.is(circleAmong(arrows), null)
})

test('a wrong arrow and a circle are found', (t) => {
  const seen = arrowsOf('src/core/a.ts', "import type { B } from '../cli/b.ts'\nimport {\n  c,\n} from './c.ts'\n")
  t.deepEqual(broken(seen), ['core knows nobody: src/core/a.ts -> src/cli/b.ts', 'only commands import commands: src/core/a.ts -> src/cli/b.ts'])
  t.is(seen.length, 2)
  t.deepEqual(circleAmong([{ from: 'a', to: 'b' }, { from: 'b', to: 'a' }]), ['a', 'b', 'a'])
})
