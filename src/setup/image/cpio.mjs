// An archive that the kernel unpacks as its first root ("newc", Documentation/driver-api/early-userspace/buffer-format.rst).

/**
 * @param {readonly {path: string, mode: number, data?: Buffer}[]} entries mode with its file type; folders before what is in them
 * @param {number} epoch the time of all, in seconds
 */
export function makeCpio(entries, epoch) {
  const parts = entries.map((entry, index) => record(entry.path, entry.mode, entry.data ?? Buffer.alloc(0), index + 1, epoch))
  return Buffer.concat([...parts, record('TRAILER!!!', 0, Buffer.alloc(0), 0, 0)])
}

function record(path, mode, data, inode, epoch) {
  const name = Buffer.from(`${path}\0`)
  const fields = [inode, mode, 0, 0, (mode & 0o170000) === 0o040000 ? 2 : 1, epoch, data.length, 0, 0, 0, 0, name.length, 0]
  const head = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`)
  return Buffer.concat([pad(Buffer.concat([head, name])), pad(data)])
}

function pad(bytes) {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)])
}
