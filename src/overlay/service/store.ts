import { XosError, describe } from '../../core/errors.ts';
import type { Disk } from '../../core/ports.ts';
import { parseAttributes, type Attributes } from './attributes.ts';
import { limits } from './limits.ts';
import { split } from './transport.ts';

/** A node that was known, and where it was. */
export interface Seen {
  readonly node: string;
  readonly address: string;
}

/** What of the overlay outlives xosd, in /var/lib/xos/overlay: the greatest epoch that was used, whom it knew, and what was said of this node while it ran. */
export class Store {
  readonly #disk: Disk;
  readonly #directory: string;

  constructor(disk: Disk, directory: string) {
    this.#disk = disk;
    this.#directory = directory;
  }

  /** An epoch that is greater than all before, also when the clock was set back. On disk before it is used. */
  async nextEpoch(now_ms: number): Promise<number> {
    await this.#disk.makeDirectory(this.#directory, 0o700);
    const last = Number(String((await this.#disk.read(`${this.#directory}/epoch`)) ?? '0').trim());
    const epoch = Math.max(Math.floor(now_ms), Number.isSafeInteger(last) && last >= 0 ? last + 1 : 0);
    await this.#disk.writeAtomic(`${this.#directory}/epoch`, `${epoch}\n`);
    return epoch;
  }

  async saveAttributes(attributes: Attributes): Promise<void> {
    await this.#disk.writeAtomic(`${this.#directory}/attributes.json`, JSON.stringify(attributes));
  }

  /** Empty when there are none. Throws XOS_CONFIG for what no program of ours wrote. */
  async loadAttributes(): Promise<Attributes> {
    const text = await this.#disk.read(`${this.#directory}/attributes.json`);
    if (text === null) return {};
    try {
      return parseAttributes(JSON.parse(String(text)));
    } catch (cause) {
      throw new XosError('XOS_CONFIG', `cannot use '${this.#directory}/attributes.json': ${describe(cause)}; remove it and describe the node anew`, {}, { cause });
    }
  }

  async saveView(seen: readonly Seen[]): Promise<void> {
    await this.#disk.writeAtomic(`${this.#directory}/view.json`, JSON.stringify(seen.slice(0, limits.view_nodes_max)), { durable: false });
  }

  /** Empty when there is none or it cannot be read: it is a hint. */
  async loadView(): Promise<readonly Seen[]> {
    try {
      const value: unknown = JSON.parse(String((await this.#disk.read(`${this.#directory}/view.json`)) ?? '[]'));
      const good = (each: unknown): each is Seen => typeof each === 'object' && each !== null && 'node' in each && 'address' in each && typeof each.node === 'string' && typeof each.address === 'string' && split(each.address)[1] !== 0;
      return Array.isArray(value) ? value.filter(good).slice(0, limits.view_nodes_max) : [];
    } catch {
      return [];
    }
  }
}
