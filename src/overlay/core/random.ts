/** Chance for protocols: small, fast, seeded (sfc32, Chris Doty-Humphrey, PractRand). Not for keys. xosd seeds it from the system's. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #count: number;

  /** `seed`: an integer. Equal seeds give equal sequences on every machine. */
  constructor(seed: number) {
    this.#a = seed | 0;
    this.#b = Math.floor(seed / 2 ** 32) | 0;
    this.#c = 0x9e3779b9;
    this.#count = 1;
    for (let round = 0; round < 15; round++) this.word();
  }

  /** Uniform in [0, 2^32). */
  word(): number {
    const sum = (this.#a + this.#b + this.#count) | 0;
    this.#count = (this.#count + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** Uniform in [0, below); 0 when below is 0. */
  below(below: number): number {
    return Math.floor((this.word() / 2 ** 32) * below);
  }

  /** Uniform in [0, 1). */
  real(): number {
    return this.word() / 2 ** 32;
  }

  chance(probability: number): boolean {
    return this.word() < probability * 2 ** 32;
  }

  /** A standard normal deviate (Box and Muller). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.real())) * Math.cos(2 * Math.PI * this.real());
  }

  shuffle<T>(list: T[]): T[] {
    for (let i = list.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const kept = list[i]!;
      list[i] = list[j]!;
      list[j] = kept;
    }
    return list;
  }
}

/** Mixes 32 bits well (the finisher of MurmurHash3); for hashes that need no secrecy. */
export function mix32(value: number): number {
  let x = value | 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** 32-bit FNV-1a of a text's UTF-16 code units, mixed. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return mix32(hash);
}
