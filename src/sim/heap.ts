/** What happens at a time; equal times in the order in which they were asked for. */
export interface Timed {
  readonly at_ms: number;
  readonly order: number;
}

/** A binary heap of timed things, earliest first. */
export class Heap<T extends Timed> {
  readonly #items: T[] = [];

  get size(): number {
    return this.#items.length;
  }

  peek(): T | undefined {
    return this.#items[0];
  }

  push(item: T): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!earlier(item, items[parent]!)) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  pop(): T | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (last === undefined || items.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && earlier(items[child + 1]!, items[child]!)) child++;
      if (!earlier(items[child]!, last)) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = last;
    return first;
  }
}

const earlier = (a: Timed, b: Timed): boolean => a.at_ms < b.at_ms || (a.at_ms === b.at_ms && a.order < b.order);
