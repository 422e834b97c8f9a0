import { second_ms } from '../../core/units.ts';

/** The bounds of the shapes, in one place. Units are last in the name. A round is a step of the construction. */
export const limits = {
  round_ms: second_ms,
  /** While nothing changes. */
  quiet_round_ms: 5 * second_ms,
  quiet_after_rounds: 16,
  /** Members that are kept because they are near, and per distance scale. */
  near_max: 20,
  near_wanted_max: 2,
  scale_max: 1,
  /** What is known is cut down to that when it grows beyond this. */
  known_max: 96,
  entries_per_message: 20,
  /** Among this many of the nearest the partner of an exchange is chosen. */
  partners: 8,
  /** Members that are asked for somebody near a place where a neighbour should be. */
  requests_per_round: 2,
  /** Who was not heard of for so many rounds, from itself or through others, is taken for gone. */
  age_max_rounds: 30,
  tries_max: 2,
  buried_rounds: 40,
  members_max: 1_048_576,
  instances_max: 256,
  /** How far a hole in a shape is looked over for the next living member. */
  detour_max: 8,
  seeds_max: 16,
} as const;
