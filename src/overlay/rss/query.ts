import { memberValue, textValue, type Book, type Peer } from '../core/index.ts';

/** What is asked of one attribute. Bounds are inclusive unless they are open; numbers are in base units. */
export type Constraint =
  | { readonly kind: 'range'; readonly attribute: string; readonly low: number; readonly high: number; readonly low_open: boolean; readonly high_open: boolean }
  | { readonly kind: 'in' | 'not'; readonly attribute: string; readonly values: readonly (number | string)[] }
  | { readonly kind: 'has'; readonly attribute: string; readonly member: string }
  | { readonly kind: 'near'; readonly x: number; readonly y: number; readonly height: number; readonly within_ms: number };

/** All constraints must hold. No constraints: every node. */
export interface Query {
  readonly constraints: readonly Constraint[];
}

export type Match = (peer: Peer) => boolean;

/** A range from `low` to `high`, both included. */
export const range = (attribute: string, low: number, high: number): Constraint => ({ kind: 'range', attribute, low, high, low_open: false, high_open: false });

export const numeric = (value: number | string): number => (typeof value === 'number' ? value : textValue(value));

/** The test for rows of a book. A node without the attribute does not match; `not` is no exception. */
export function matcher(query: Query, book: Book): Match {
  const tests = query.constraints.map((constraint) => test(constraint, book));
  return (peer) => {
    for (const holds of tests) if (!holds(peer)) return false;
    return true;
  };
}

function test(constraint: Constraint, book: Book): Match {
  if (constraint.kind === 'near') return (peer) => distance_ms(book, peer, constraint) <= constraint.within_ms;
  if (constraint.kind === 'has') {
    const member = memberValue(constraint.attribute, constraint.member);
    return (peer) => book.hasMember(peer, member);
  }
  const column = book.find(constraint.attribute);
  if (column < 0) return () => false;
  const values = book.values(column);
  if (constraint.kind === 'range') {
    const { low, high, low_open, high_open } = constraint;
    return (peer) => {
      const value = values[peer]!;
      return (low_open ? value > low : value >= low) && (high_open ? value < high : value <= high);
    };
  }
  const wanted = constraint.values.map(numeric);
  if (constraint.kind === 'in') return (peer) => wanted.includes(values[peer]!);
  return (peer) => !Number.isNaN(values[peer]) && !wanted.includes(values[peer]!);
}

/** The round trip that Vivaldi's coordinates foretell, milliseconds. */
export function distance_ms(book: Book, peer: Peer, from: { readonly x: number; readonly y: number; readonly height: number }): number {
  const { coordinates } = book;
  return Math.hypot(coordinates[peer * 4]! - from.x, coordinates[peer * 4 + 1]! - from.y) + coordinates[peer * 4 + 2]! + from.height;
}
