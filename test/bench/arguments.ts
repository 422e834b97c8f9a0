import { XosError } from '../../src/core/errors.ts'

export const topics = ['exec', 'fs', 'checkpoint', 'boot', 'kmod', 'overlay', 'login', 'isolation'] as const
export type TopicName = typeof topics[number]

export interface Arguments {
  readonly topics: readonly TopicName[]
  readonly rounds: number
  /** Smaller counts: for a look, not for a verdict. */
  readonly quick: boolean
  readonly json: string | null
  /** Leave the grid up afterwards, to look into it. */
  readonly keep: boolean
}

export const usage = `usage: npm run bench -- exec|fs|checkpoint|boot|kmod|overlay|login|isolation… [--rounds N] [--quick] [--json FILE] [--keep]
  --rounds N   rounds to take medians of, 1 to 99 (default 3; with --quick 1)
  --quick      fewer and smaller operations: for a look, not for a verdict
  --json FILE  write all samples and verdicts to FILE as well
  --keep       leave the grid 'bench' up (take it down with 'npx xgrid down --grid bench')`

/** Throws `XOS_USAGE`. */
export function parseArguments(words: readonly string[]): Arguments {
  const found: TopicName[] = []
  let rounds: number | undefined
  let quick = false
  let json: string | null = null
  let keep = false
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? ''
    if (isTopic(word)) found.push(word)
    else if (word === '--rounds') rounds = roundsOf(words[++at])
    else if (word === '--quick') quick = true
    else if (word === '--json') json = fileOf(words[++at])
    else if (word === '--keep') keep = true
    else throw new XosError('XOS_USAGE', `unknown word '${word}'\n${usage}`)
  }
  if (found.length === 0) throw new XosError('XOS_USAGE', `no topic given\n${usage}`)
  return { topics: [...new Set(found)], rounds: rounds ?? (quick ? 1 : 3), quick, json, keep }
}

function isTopic(word: string): word is TopicName {
  return (topics as readonly string[]).includes(word)
}

function roundsOf(text: string | undefined): number {
  if (text !== undefined && /^[1-9][0-9]?$/.test(text)) return Number(text)
  throw new XosError('XOS_USAGE', `bad number of rounds '${text ?? ''}': want 1 to 99\n${usage}`)
}

function fileOf(text: string | undefined): string {
  if (text !== undefined && text !== '' && !text.startsWith('--')) return text
  throw new XosError('XOS_USAGE', `--json needs a file name\n${usage}`)
}
