import { randomBytes, randomInt } from 'node:crypto';
import type { Random } from '../core/ports.ts';

export const systemRandom: Random = {
  bytes: (count) => randomBytes(count),
  integer: (below) => randomInt(below),
};
