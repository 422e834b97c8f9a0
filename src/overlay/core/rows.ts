/**
 * The state of protocols, one row a node, all in one block: what a message touches lies together, which is what a simulation of 10^6
 * nodes spends its time on. Protocols reserve their part in their constructors and read `words` and `bytes` (the same memory) at
 * `self * stride + offset`; `seal` makes the block, before the first row starts.
 */
export class Rows {
  readonly capacity: number;
  /** Words a row. */
  stride = 0;
  words = new Uint32Array(0);
  bytes = new Uint8Array(0);
  /** Bytes that the last small field left free in its word. */
  #spare = 0;
  #spare_bytes = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  /** Room for so many 32-bit words in each row, zero at first; returns their offset, in words. */
  reserve(words: number): number {
    if (this.words.length > 0) throw new Error('the rows are sealed: construct all protocols before the first row starts');
    this.stride += words;
    return this.stride - words;
  }

  /** The same for bytes; the offset is in bytes, to be used with `self * stride * 4`. Small fields share words. */
  reserveBytes(bytes: number): number {
    if (bytes <= this.#spare_bytes) {
      const offset = this.#spare;
      this.#spare += bytes;
      this.#spare_bytes -= bytes;
      return offset;
    }
    const words = Math.ceil(bytes / 4);
    const offset = this.reserve(words) * 4;
    if (words * 4 - bytes > this.#spare_bytes) {
      this.#spare = offset + bytes;
      this.#spare_bytes = words * 4 - bytes;
    }
    return offset;
  }

  seal(): void {
    if (this.words.length > 0 || this.stride === 0) return;
    this.words = new Uint32Array(this.capacity * this.stride);
    this.bytes = new Uint8Array(this.words.buffer);
  }
}
