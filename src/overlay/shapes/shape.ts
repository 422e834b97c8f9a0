import { XosError } from '../../core/errors.ts';
import { limits } from './limits.ts';
import { parseRanking } from './ranking.ts';

/**
 * A shape says who is next to whom, by position (0 to size - 1): for each place beside a position the positions that may take it, best
 * first. The first one that lives does; so a shape with holes is whole again as soon as everybody has found the next living one.
 */
export interface Shape {
  readonly name: string;
  readonly size: number;
  /** How far two positions are from each other; what the construction brings together. */
  distance(a: number, b: number): number;
  /** May be empty: then the neighbours are the `nearest`. */
  places(position: number): readonly (readonly number[])[];
  /** For shapes by a ranking function: how many of the nearest are neighbours. */
  readonly nearest: number;
}

const bad = (text: string, why: string): XosError =>
  new XosError('XOS_BAD_SHAPE', `shape '${text.slice(0, 100)}' is not valid: ${why}`, { shape: text.slice(0, 100) });

export const shape_help = 'ring, torus[:WxH], mesh[:WxH], tree[:ARITY], hypercube, nearest:COUNT, or rank:COUNT:EXPRESSION in a, b and size';

/** `ring`, `torus`, `torus:16x8`, `mesh:16x8`, `tree:2`, `hypercube`, `nearest:4`, for `size` members. Throws XOS_BAD_SHAPE. */
export function parseShape(text: string, size: number): Shape {
  if (!Number.isInteger(size) || size < 1 || size > limits.members_max) throw bad(text, `it has ${size} members, which is not between 1 and ${limits.members_max}`);
  const [, kind = '', rest] = /^([^:]*)(?::(.*))?$/s.exec(text)! as unknown as [string, string, string | undefined];
  switch (kind) {
    case 'ring': return none(text, rest, ring(size));
    case 'torus': return grid(text, size, rest, true);
    case 'mesh': return grid(text, size, rest, false);
    case 'tree': return tree(text, size, whole(text, rest, 2, 2, 64));
    case 'hypercube': return none(text, rest, hypercube(text, size));
    case 'nearest': return ranked(text, size, whole(text, rest, 4, 1, limits.near_max), (a, b) => Math.abs(a - b));
    case 'rank': return userRanked(text, size, rest);
    default: throw bad(text, `there are ${shape_help}`);
  }
}

/** A shape by the user's own ranking function: each member's neighbours are the `count` members at the least distance. */
export const ranked = (name: string, size: number, count: number, distance: (a: number, b: number) => number): Shape => ({ name, size, distance, places: () => [], nearest: count });

/** `rank:4:abs(a % 10 - b % 10) + abs(floor(a / 10) - floor(b / 10))`: the four members at the least distance, as the user measures it. */
function userRanked(text: string, size: number, rest: string | undefined): Shape {
  const match = /^([0-9]{1,6}):(.+)$/s.exec(rest ?? '');
  if (match === null) throw bad(text, "it needs how many neighbours, and an expression: 'rank:4:abs(a - b)'");
  const count = whole(text, match[1], 4, 1, limits.near_max);
  const ranking = parseRanking(match[2]!, (why) => bad(text, why));
  // What is no number is as far as can be.
  const distance = (a: number, b: number): number => {
    const found = ranking(a, b, size);
    return Number.isNaN(found) ? Number.MAX_VALUE : Math.abs(found);
  };
  return ranked(text, size, count, distance);
}

const none = (text: string, rest: string | undefined, shape: Shape): Shape => {
  if (rest !== undefined) throw bad(text, `'${shape.name}' takes nothing after ':'`);
  return shape;
};

function whole(text: string, rest: string | undefined, otherwise: number, min: number, max: number): number {
  if (rest === undefined) return otherwise;
  if (!/^[0-9]{1,6}$/.test(rest) || Number(rest) < min || Number(rest) > max) throw bad(text, `'${rest}' is not a whole number from ${min} to ${max}`);
  return Number(rest);
}

const around = (size: number) => (a: number, b: number): number => {
  const apart = Math.abs(a - b);
  return Math.min(apart, size - apart);
};
const modulo = (value: number, size: number): number => ((value % size) + size) % size;
const detour = (size: number, other: (step: number) => number | null): readonly number[] => {
  const found: number[] = [];
  for (let step = 1; step <= Math.min(limits.detour_max, size); step++) {
    const position = other(step);
    if (position === null) break;
    if (!found.includes(position)) found.push(position);
  }
  return found;
};

function ring(size: number): Shape {
  return {
    name: 'ring', size, nearest: 0, distance: around(size),
    places: (at) => (size < 2 ? [] : [1, -1].map((way) => detour(size - 1, (step) => modulo(at + way * step, size)))),
  };
}

/** Width and height: given, or the divisors of the size that are closest to each other. */
function sides(text: string, size: number, rest: string | undefined): [number, number] {
  if (rest !== undefined) {
    const match = /^([0-9]{1,7})x([0-9]{1,7})$/.exec(rest);
    if (match === null) throw bad(text, `'${rest}' is not WIDTHxHEIGHT, for instance 16x8`);
    const [width, height] = [Number(match[1]), Number(match[2])];
    if (width * height !== size) throw bad(text, `${width}x${height} is ${width * height} places for ${size} members`);
    return [width, height];
  }
  let height = Math.floor(Math.sqrt(size));
  while (size % height !== 0) height--;
  return [size / height, height];
}

function grid(text: string, size: number, rest: string | undefined, wraps: boolean): Shape {
  const [width, height] = sides(text, size, rest);
  const along = (at: number, dx: number, dy: number): readonly number[] => {
    const [x, y] = [at % width, Math.floor(at / width)];
    return detour((dx === 0 ? height : width) - (wraps ? 1 : 0), (step) => {
      const [u, v] = [x + dx * step, y + dy * step];
      if (wraps) return modulo(v, height) * width + modulo(u, width);
      return u < 0 || v < 0 || u >= width || v >= height ? null : v * width + u;
    });
  };
  return {
    name: wraps ? 'torus' : 'mesh', size, nearest: 0, distance: around(size),
    places: (at) => ([[1, 0], [-1, 0], [0, 1], [0, -1]] as const).map(([dx, dy]) => along(at, dx, dy)).filter((place) => place.length > 0),
  };
}

function tree(text: string, size: number, arity: number): Shape {
  const parents = (at: number): readonly number[] => {
    const found: number[] = [];
    for (let up = at; up > 0;) found.push((up = Math.floor((up - 1) / arity)));
    // The root's place is taken by the lowest that lives.
    for (let low = 1; low < at && found.length < 24 && low <= limits.detour_max; low++) if (!found.includes(low)) found.push(low);
    return found;
  };
  return {
    name: text, size, nearest: 0, distance: around(size),
    places(at) {
      const children = Array.from({ length: arity }, (_, i) => at * arity + 1 + i).filter((child) => child < size);
      return [...(at > 0 ? [parents(at)] : []), ...children.map((child) => [child])];
    },
  };
}

function hypercube(text: string, size: number): Shape {
  const dimensions = Math.log2(size);
  if (!Number.isInteger(dimensions)) throw bad(text, `a hypercube has 2, 4, 8, 16 … members, not ${size}`);
  return { name: 'hypercube', size, nearest: 0, distance: around(size), places: (at) => Array.from({ length: dimensions }, (_, bit) => [(at ^ (1 << bit)) >>> 0]) };
}
