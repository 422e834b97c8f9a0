// The real login program of a node on a terminal, driven as a user would. The driver runs inside of the node (pam/test/terminal.py), as root,
// in the place of getty.
import { readFileSync } from 'node:fs'
import type { TestGrid } from './grid.ts'

export type Step =
  | readonly ['expect', string] // a regular expression of Python's
  | readonly ['read', string] // the same, with what was found as its output
  | readonly ['send', string]
  | readonly ['type', string] // without a newline: ^Z, ^C
  | readonly ['run', string] // a command of the shell; its output and status are a result
  | readonly ['end'] // waits for login to end; its exit status is the result
  | readonly ['hang up'] // the line goes dead
  | readonly ['kill'] // login dies without a word

export interface Dialogue {
  readonly results: readonly { readonly output: string, readonly status: number }[]
  /** What went wrong, if a step did. */
  readonly error: string | null
}

/** What a shell shows when it waits: `$ `, and what it tells the terminal behind it. */
export const prompt = String.raw`[$] (\x1b\[[^a-zA-Z]*[a-zA-Z])*$`

/** The steps up to a shell. */
export const asked = (password: string): Step[] => [['expect', '[Pp]assword: '], ['send', password]]
export const loggedIn = (password: string): Step[] => [...asked(password), ['expect', prompt]]

const terminal = readFileSync(new URL('../../../pam/test/terminal.py', import.meta.url), 'utf8')
const driver = `
import json, sys
argv, steps = json.loads(sys.argv[1]), json.loads(sys.argv[2])
results, error = [], None
terminal = Terminal(*argv, bound=40)
try:
    for name, *rest in steps:
        if name == 'expect': terminal.expect(rest[0])
        elif name == 'read': results.append({'output': terminal.expect(rest[0]).group(0), 'status': 0})
        elif name == 'send': terminal.send(rest[0])
        elif name == 'type':
            time.sleep(0.3)
            os.write(terminal.master, rest[0].encode())
        elif name == 'run':
            output, status = terminal.run(rest[0])
            results.append({'output': output, 'status': status})
        elif name == 'end': results.append({'output': '', 'status': terminal.wait()})
        elif name == 'hang up':
            terminal.hang_up()
            while terminal.poll() is None: time.sleep(0.05)
        elif name == 'kill': os.kill(terminal.pid, signal.SIGKILL)
except AssertionError as failure:
    error = str(failure)
terminal.close()
print(json.dumps({'results': results, 'error': error}))
`

/** Takes the steps on a terminal of the node; `program` instead of `login USER` for other ways in. */
export async function dialogue (grid: TestGrid, node: string, program: readonly string[], steps: readonly Step[]): Promise<Dialogue> {
  const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`
  const { status, stdout, stderr } = await grid.root(node, `exec python3 - ${quote(JSON.stringify(program))} ${quote(JSON.stringify(steps))}`, { input: terminal + driver, timeout_ms: 120_000 })
  if (status !== 0) throw new Error(`the driver of '${program.join(' ')}' on '${node}' ended with ${status}: ${stdout}${stderr}`)
  return JSON.parse(stdout) as Dialogue
}

export const login = (grid: TestGrid, node: string, user: string, steps: readonly Step[]): Promise<Dialogue> => dialogue(grid, node, ['/usr/bin/login', user], steps)

/** Whether the user gets in with this password now. */
export async function canLogIn (grid: TestGrid, node: string, user: string, password: string): Promise<boolean> {
  const { results } = await login(grid, node, user, [...asked(password), ['read', `Login incorrect|${prompt}`]])
  return results[0] !== undefined && !results[0].output.includes('incorrect')
}
