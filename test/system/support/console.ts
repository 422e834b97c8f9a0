// The serial console of a guest: what is on it, and a dialogue with it.
import type { Socket } from 'node:net'

export interface Console {
  /** Everything that it showed so far. */
  text(): string
  /** Waits for what `pattern` matches behind the last match; fails with what there was instead. Default bound 30 s. */
  expect(pattern: RegExp, timeout_ms?: number): Promise<RegExpExecArray>
  /** Types a line (the return key included). */
  send(line: string): void
  /** Types characters as they are: '\x03', '\x1a' … */
  type(characters: string): void
}

export function openConsole (socket: Socket): Console {
  let shown = ''
  let read = 0
  let watch: (() => void) | null = null
  let gone = false
  socket.on('error', () => {}).on('close', () => {
    gone = true
    watch?.()
  })
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    shown += chunk
    watch?.()
  })
  return {
    text: () => shown,
    expect: (pattern, timeout_ms = 30_000) => new Promise((resolve, reject) => {
      const end = (): void => {
        watch = null
        clearTimeout(timer)
      }
      const fail = (how: string): void => {
        end()
        reject(new Error(`the console ${how} ${String(pattern)}; it showed:\n${shown.slice(read).slice(-3000)}`))
      }
      const timer = setTimeout(() => fail(`needed more than ${timeout_ms / 1000} s for`), timeout_ms)
      watch = () => {
        const match = pattern.exec(shown.slice(read))
        if (match === null && gone) return fail('ended without')
        if (match === null) return
        read += match.index + match[0].length
        end()
        resolve(match)
      }
      watch()
    }),
    send: (line) => void socket.write(`${line}\r`),
    type: (characters) => void socket.write(characters),
  }
}
