// The rules of the house, as a test: what is banned, what to use in its place, and where it stands.
import test from 'ava'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { filesBelow, root } from './files.ts'

interface Rule {
  readonly name: string
  readonly pattern: RegExp
  readonly use: string
  readonly in: (path: string) => boolean
}

const isSource = (path: string): boolean => path.endsWith('.ts') && (path.startsWith('src/') || path.startsWith('native/'))
const isGenerated = (path: string): boolean => path.startsWith('src/proto/')
/** Folders whose code may run in the simulator: they know the world only through ports. */
const isService = (path: string): boolean =>
  /^src\/(core|group|vo|account|job|volume|checkpoint|overlay|share)\//.test(path) && isSource(path)

const rules: readonly Rule[] = [
  { name: 'default export', pattern: /^\s*export default\b/, use: 'a named export', in: (p) => isSource(p) && !isGenerated(p) },
  { name: 'enum', pattern: /^\s*(?:export\s+)?(?:const\s+)?enum\s/, use: 'a union of literals', in: (p) => isSource(p) && !isGenerated(p) },
  { name: 'any', pattern: /(?<!:)(?::\s*any\b(?!['"`])|\bas any\b|<any>)/, use: 'unknown, and narrow it', in: (p) => isSource(p) && !isGenerated(p) },
  { name: 'ts-ignore', pattern: /@ts-(?:ignore|nocheck)/, use: 'a type that is true', in: (p) => isSource(p) && !isGenerated(p) },
  { name: 'wall clock in a service', pattern: /\bDate\.now\(|\bnew Date\(\)|\bperformance\.now\(/, use: 'the port Clock', in: isService },
  { name: 'chance in a service', pattern: /\bMath\.random\(/, use: 'the port Random', in: isService },
  { name: 'timer in a service', pattern: /(?<![.\w])(?:setTimeout|setInterval|setImmediate)\(/, use: 'the port Clock', in: isService },
  {
    name: 'system in a service', pattern: /from 'node:(?:fs|fs\/promises|net|child_process|dgram|tls|http|https|http2|os)'/,
    use: 'a port, injected', in: isService,
  },
  {
    name: 'registry host', pattern: /(?:deb\.debian\.org|registry\.npmjs|security\.debian\.org|snapshot\.debian)/,
    use: "the machine's own configuration", in: (p) => p !== 'test/house/rules.test.ts' && p !== 'package-lock.json',
  },
]

const text = /\.(?:ts|mjs|cc|h|c|sh|json|md|py)$|(?:^|\/)[^.]+$/

/** A line that ends so says that it breaks a rule on purpose, and why. */
const exemption = /house: \S+/

function violations(path: string, text: string): string[] {
  const found: string[] = []
  const applying = rules.filter((rule) => rule.in(path))
  text.split('\n').forEach((line, index) => {
    if (exemption.test(line) || /^\s*(?:\*|\/\/)/.test(line)) return
    for (const rule of applying) {
      if (rule.pattern.test(line)) found.push(`${path}:${index + 1}: ${rule.name} is banned; use ${rule.use}`)
    }
  })
  return found
}

test('the tree keeps the rules of the house', (t) => {
  const found = [...filesBelow()].filter((path) => text.test(path)).flatMap((path) => violations(path, readFileSync(join(root, path), 'latin1')))
  t.deepEqual(found, [])
})

test('a rule that is broken is found, with file and line', (t) => {
  t.deepEqual(violations('src/job/x.ts', 'const a = 1\nconst b = Date.now()\n'),
    ['src/job/x.ts:2: wall clock in a service is banned; use the port Clock'])
  t.deepEqual(violations('src/cli/x.ts', 'const b = Date.now()\n'), [])
})
