// The host's end of src/setup/guest/agent.c: shell lines as root of a guest, many at once over one virtio-serial port.
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import type { Finished, RunOptions } from '../../support/command.ts'
import { within } from './socket.ts'

export type { Finished, RunOptions }

export interface Running {
  readonly finished: Promise<Finished>
  /** Resolves when standard output holds what `pattern` matches; fails when the command ends before, or with the bound of the command. */
  seen(pattern: RegExp): Promise<RegExpExecArray>
  write(data: string | Buffer): void
  end(): void
  signal(number: number): void
}

export interface Agent {
  start(line: string, options?: RunOptions): Running
  /** Standard output as bytes. */
  read(line: string, options?: RunOptions): Promise<Buffer>
  /** Tells the guest the time and gives it entropy; returns when it answered, asking again until then. */
  hello(timeout_ms: number): Promise<void>
  close(why: string): void
}

const type = { run: 1, stdin: 2, signal: 3, hello: 4, stdout: 11, stderr: 12, exit: 13 } as const
const head_bytes = 12
const chunk_bytes = 60_000

interface Command {
  frame(kind: number, payload: Buffer): void
  lost(why: string): void
}

export function openAgent (socket: Socket): Agent {
  const commands = new Map<number, Command>()
  let last = randomBytes(4).readUInt32LE() >>> 1
  let gone: string | null = null
  readFrames(socket, (id, kind, payload) => commands.get(id)?.frame(kind, payload))
  const send = (id: number, kind: number, payload: Buffer): void => {
    const head = Buffer.alloc(head_bytes)
    head.writeUInt32LE(payload.length, 0)
    head.writeUInt32LE(id, 4)
    head.writeUInt8(kind, 8)
    if (gone === null) socket.write(Buffer.concat([head, payload]))
  }
  const close = (why: string): void => {
    gone ??= why
    for (const command of commands.values()) command.lost(gone)
    commands.clear()
    socket.destroy()
  }
  socket.on('error', () => {})
  socket.on('close', () => close('the guest is gone'))

  const begin = (line: string, options: RunOptions): { running: Running, stdout: () => Buffer } => {
    const id = ++last
    const streams = { [type.stdout]: [] as Buffer[], [type.stderr]: [] as Buffer[] }
    const text = (kind: 11 | 12): string => Buffer.concat(streams[kind]).toString()
    const watchers = new Set<() => void>()
    let ended: Error | Finished | null = null
    const running: Running = {
      finished: new Promise<Finished>((resolve, reject) => {
        const timer = setTimeout(() => {
          send(id, type.signal, uint32(9))
          settle(new Error(`'${line}' did not end within ${(options.timeout_ms ?? 60_000) / 1000} s; it said:\n${text(11)}${text(12)}`))
        }, options.timeout_ms ?? 60_000)
        const settle = (how: Error | Finished): void => {
          clearTimeout(timer)
          commands.delete(id)
          ended ??= how
          for (const watch of watchers) watch()
          if (how instanceof Error) reject(how)
          else resolve(how)
        }
        commands.set(id, {
          frame (kind, payload) {
            if (kind === type.stdout || kind === type.stderr) {
              streams[kind].push(payload)
              for (const watch of watchers) watch()
            } else if (kind === type.exit) settle({ status: payload.readInt32LE(0), stdout: text(11), stderr: text(12) })
          },
          lost: (why) => settle(new Error(`'${line}' in the guest: ${why}; it said:\n${text(11)}${text(12)}`)),
        })
        if (gone !== null) settle(new Error(`cannot run '${line}' in the guest: ${gone}`))
      }),
      seen: (pattern) => new Promise((resolve, reject) => {
        const watch = (): void => {
          const match = pattern.exec(text(11))
          if (match === null && ended === null) return
          watchers.delete(watch)
          if (match !== null) resolve(match)
          else reject(ended instanceof Error ? ended : new Error(`'${line}' ended without ${String(pattern)}; it said:\n${text(11)}${text(12)}`))
        }
        watchers.add(watch)
        watch()
      }),
      write (data) {
        const bytes = Buffer.from(data)
        for (let at = 0; at < bytes.length; at += chunk_bytes) send(id, type.stdin, bytes.subarray(at, at + chunk_bytes))
      },
      end: () => send(id, type.stdin, Buffer.alloc(0)),
      signal: (number) => send(id, type.signal, uint32(number)),
    }
    running.finished.catch(() => {})
    send(id, type.run, Buffer.from(line))
    if (options.input !== undefined) {
      running.write(options.input)
      running.end()
    }
    return { running, stdout: () => Buffer.concat(streams[type.stdout]) }
  }

  return {
    start: (line, options = {}) => begin(line, options).running,
    async read (line, options = {}) {
      const { running, stdout } = begin(line, { input: '', ...options })
      const { status, stderr } = await running.finished
      if (status !== 0) throw new Error(`'${line}' in the guest ended with ${status}: ${stderr}`)
      return stdout()
    },
    async hello (timeout_ms) {
      const id = ++last
      let timer: NodeJS.Timeout | undefined
      const answered = new Promise<void>((resolve, reject) => commands.set(id, { frame: () => resolve(), lost: (why) => reject(new Error(why)) }))
      const ask = (): void => {
        const clock = Buffer.alloc(8)
        clock.writeBigInt64LE(BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n)
        send(id, type.hello, Buffer.concat([clock, randomBytes(64)]))
        timer = setTimeout(ask, 500)
      }
      ask()
      try {
        await within(timeout_ms, () => "the answer of the guest's agent", answered)
      } finally {
        clearTimeout(timer)
        commands.delete(id)
      }
    },
    close,
  }
}

function readFrames (socket: Socket, take: (id: number, kind: number, payload: Buffer) => void): void {
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    while (rest.length >= head_bytes) {
      const length = rest.readUInt32LE(0)
      if (rest.length < head_bytes + length) return
      take(rest.readUInt32LE(4), rest.readUInt8(8), Buffer.from(rest.subarray(head_bytes, head_bytes + length)))
      rest = rest.subarray(head_bytes + length)
    }
  })
}

function uint32 (value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
