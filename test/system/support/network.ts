// A switch for guests: each plugs into a Unix socket, frames go to all others (or to the one that has the address). No network of this
// machine is touched. Framing of QEMU's stream netdev: u32 length big-endian, then the Ethernet frame.
import { rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'

export interface Network {
  /** A socket to plug a guest into; `name` is for cut(). */
  plug(name: string): Promise<string>
  /** Drops all frames of a guest, both ways, until mend(). */
  cut(name: string): void
  mend(name: string): void
  close(): Promise<void>
}

const backlog_bytes = 4 << 20

export function openNetwork (folder: string): Network {
  const ports = new Map<string, Socket>()
  const places = new Map<string, string>()
  const dark = new Set<string>()
  const closing: (() => Promise<void>)[] = []

  const pass = (from: string, frame: Buffer): void => {
    if (dark.has(from)) return
    places.set(frame.toString('hex', 10, 16), from)
    const known = places.get(frame.toString('hex', 4, 10))
    for (const [name, port] of ports) {
      // As a switch that is full does: a guest that does not read loses frames.
      if (name !== from && !dark.has(name) && (known === undefined || known === name) && port.writableLength < backlog_bytes) port.write(frame)
    }
  }
  return {
    async plug (name) {
      const path = `${folder}/net-${name}`
      rmSync(path, { force: true })
      const server = createServer((socket) => {
        ports.set(name, socket)
        socket.on('error', () => {}).on('close', () => { if (ports.get(name) === socket) ports.delete(name) })
        readEthernet(socket, (frame) => pass(name, frame))
      })
      await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve))
      closing.push(() => new Promise((resolve) => {
        ports.get(name)?.destroy()
        server.close(() => resolve())
      }))
      return path
    },
    cut: (name) => void dark.add(name),
    mend: (name) => void dark.delete(name),
    async close () {
      await Promise.all(closing.map((each) => each()))
    },
  }
}

/** Frames with their length before them. */
function readEthernet (socket: Socket, take: (frame: Buffer) => void): void {
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE(0)) {
      const end = 4 + rest.readUInt32BE(0)
      if (end >= 18) take(Buffer.from(rest.subarray(0, end)))
      rest = rest.subarray(end)
    }
  })
}
