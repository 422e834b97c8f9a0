import { header_bytes, tag_bytes } from './session.ts';
import { limits } from './limits.ts';

/** Before each piece: number of the frame, which piece, of how many. */
const piece_head_bytes = 4;
const piece_bytes = limits.datagram_bytes_max - header_bytes - tag_bytes - piece_head_bytes;

/** A frame as the plain texts of its datagrams. Throws RangeError when it is too long. */
export function cut(frame: Uint8Array, number: number): readonly Buffer[] {
  const count = Math.max(1, Math.ceil(frame.length / piece_bytes));
  if (count > limits.pieces_max || frame.length > limits.frame_bytes_max) throw new RangeError(`a frame of ${frame.length} bytes`);
  return Array.from({ length: count }, (_, at) => {
    const head = Buffer.from([number & 0xff, (number >> 8) & 0xff, at, count]);
    return Buffer.concat([head, frame.subarray(at * piece_bytes, (at + 1) * piece_bytes)]);
  });
}

interface Assembly {
  readonly number: number;
  readonly count: number;
  readonly pieces: (Buffer | undefined)[];
  readonly since_ms: number;
  missing: number;
}

/** Puts the pieces of one peer's frames together; what is not whole after two seconds is let go. */
export class Assembler {
  #open: Assembly[] = [];

  /** The whole frame, null while pieces are missing, 'malformed'. */
  add(piece: Buffer, now_ms: number): Buffer | null | 'malformed' {
    if (piece.length < piece_head_bytes) return 'malformed';
    const [number, at, count] = [piece.readUInt16LE(0), piece[2]!, piece[3]!];
    if (count === 0 || at >= count || count > limits.pieces_max) return 'malformed';
    const body = piece.subarray(piece_head_bytes);
    if (count === 1) return body;
    if (body.length !== piece_bytes && at !== count - 1) return 'malformed';
    this.#open = this.#open.filter(({ since_ms }) => now_ms - since_ms < limits.assembly_ms);
    let assembly = this.#open.find((each) => each.number === number && each.count === count);
    if (assembly === undefined) {
      if (this.#open.length >= limits.assemblies_per_peer_max) this.#open.shift();
      this.#open.push((assembly = { number, count, pieces: [], since_ms: now_ms, missing: count }));
    }
    if (assembly.pieces[at] !== undefined) return null;
    assembly.pieces[at] = body;
    if (--assembly.missing > 0) return null;
    this.#open = this.#open.filter((each) => each !== assembly);
    return Buffer.concat(assembly.pieces as Buffer[]);
  }
}
