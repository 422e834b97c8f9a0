import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { limits } from './limits.ts';

/** The first byte of a frame that is packed: no kind of message (src/overlay/core/kinds.ts). */
const packed_mark = 255;
/**
 * Lists of peers: certificates and attributes of nodes are alike, so ten of them take a third of the room, and a third of the datagrams, each of
 * which costs more than the packing. Messages of users (48 to 63) stay as they are: their length must tell nothing of what is in them.
 */
const worthwhile = (kind: number): boolean => kind < 48 || kind > 63;
/** A window of eight descriptors, and little memory to set up each time. */
const options = { level: 1, windowBits: 13, memLevel: 5 } as const;

/** The frame as it travels: packed, where it would need several datagrams and gets smaller. */
export function pack(frame: Uint8Array): Uint8Array {
  if (frame.length <= limits.datagram_bytes_max || !worthwhile(frame[0]!)) return frame;
  const packed = deflateRawSync(frame, options);
  return packed.length + 1 < frame.length ? Buffer.concat([Buffer.from([packed_mark]), packed]) : frame;
}

/** The frame as it was; 'malformed' when it cannot have been packed here, or is larger than a frame may be. */
export function unpack(frame: Buffer): Buffer | 'malformed' {
  if (frame[0] !== packed_mark) return frame;
  try {
    const whole = inflateRawSync(frame.subarray(1), { windowBits: options.windowBits, maxOutputLength: limits.frame_bytes_max });
    return whole.length > 0 && whole[0] !== packed_mark && worthwhile(whole[0]!) ? whole : 'malformed';
  } catch {
    // Cut short, no deflate at all, or more than a frame.
    return 'malformed';
  }
}
