type Value = (a: number, b: number, size: number) => number;

const characters_max = 256;
const depth_max = 16;

const functions: Readonly<Record<string, readonly [count: number, value: (x: number, y: number) => number]>> = {
  abs: [1, Math.abs], floor: [1, Math.floor], sqrt: [1, Math.sqrt], log2: [1, Math.log2], min: [2, Math.min], max: [2, Math.max], hypot: [2, Math.hypot], xor: [2, (x, y) => (x ^ y) >>> 0],
};

/** Recursive descent over numbers, a, b, size, + - * / %, brackets and the functions above; nothing else, since others hand these in. */
class Parser {
  readonly #tokens: readonly string[];
  readonly #fail: (why: string) => Error;
  #at = 0;
  #depth = 0;

  constructor(source: string, fail: (why: string) => Error) {
    this.#fail = fail;
    if (source.length > characters_max) throw fail(`its expression is longer than ${characters_max} characters`);
    this.#tokens = source.match(/[0-9]+(?:\.[0-9]+)?|[a-z][a-z0-9]*|[^\s]/g) ?? [];
  }

  whole(): Value {
    const value = this.#sum();
    if (this.#at < this.#tokens.length) throw this.#fail(`'${this.#tokens[this.#at]}' has no meaning there in its expression`);
    return value;
  }

  #take(...texts: readonly string[]): string | null {
    const next = this.#tokens[this.#at];
    if (next === undefined || !texts.includes(next)) return null;
    this.#at++;
    return next;
  }

  #need(text: string): void {
    if (this.#take(text) === null) throw this.#fail(`its expression needs '${text}' ${this.#tokens[this.#at] === undefined ? 'at its end' : `before '${this.#tokens[this.#at]}'`}`);
  }

  #sum(): Value {
    let left = this.#product();
    for (let sign = this.#take('+', '-'); sign !== null; sign = this.#take('+', '-')) {
      const [one, other] = [left, this.#product()];
      left = sign === '+' ? (a, b, size) => one(a, b, size) + other(a, b, size) : (a, b, size) => one(a, b, size) - other(a, b, size);
    }
    return left;
  }

  #product(): Value {
    let left = this.#unary();
    for (let sign = this.#take('*', '/', '%'); sign !== null; sign = this.#take('*', '/', '%')) {
      const [one, other] = [left, this.#unary()];
      if (sign === '*') left = (a, b, size) => one(a, b, size) * other(a, b, size);
      else left = sign === '/' ? (a, b, size) => one(a, b, size) / other(a, b, size) : (a, b, size) => one(a, b, size) % other(a, b, size);
    }
    return left;
  }

  #unary(): Value {
    if (++this.#depth > depth_max * 4) throw this.#fail('its expression is nested too deeply');
    try {
      if (this.#take('-') === null) return this.#value();
      const value = this.#unary();
      return (a, b, size) => -value(a, b, size);
    } finally {
      this.#depth--;
    }
  }

  #value(): Value {
    const token = this.#tokens[this.#at++];
    if (token === undefined) throw this.#fail('its expression ends too early');
    if (token === '(') {
      const value = this.#sum();
      this.#need(')');
      return value;
    }
    if (/^[0-9]/.test(token)) return () => Number(token);
    if (token === 'a') return (a) => a;
    if (token === 'b') return (_a, b) => b;
    if (token === 'size') return (_a, _b, size) => size;
    const found = Object.hasOwn(functions, token) ? functions[token]! : null;
    if (found === null) throw this.#fail(`'${token}' is not known in its expression: there are a, b, size, ${Object.keys(functions).join(', ')}`);
    return this.#call(found);
  }

  #call([count, value]: readonly [number, (x: number, y: number) => number]): Value {
    this.#need('(');
    const first = this.#sum();
    if (count === 2) this.#need(',');
    const second: Value = count === 2 ? this.#sum() : () => 0;
    this.#need(')');
    return (a, b, size) => value(first(a, b, size), second(a, b, size));
  }
}

/** A ranking function as users write it: how far position b is from position a, among `size`. Throws what `fail` makes of the reason. */
export function parseRanking(source: string, fail: (why: string) => Error): Value {
  return new Parser(source, fail).whole();
}
