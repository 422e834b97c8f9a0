// Passwords of the users that the grid created, one file a user, readable by root only: what `xgrid exec` logs in with.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { randomInt } from 'node:crypto'
import { join } from 'node:path'
import { XosError } from '../core/errors.ts'
import type { ProcessIdentity } from '../setup/lib/process.mjs'
import { callNode } from './daemon.ts'
import type { GridPaths } from './paths.ts'
import { list, nodeRun, readGrid } from './state.ts'

/** Without the letters and digits that look alike. */
const alphabet = 'abcdefghijkmnpqrstuvwxyz23456789'

/** Path of the file with the password. Throws XOS_NO_USER for a user that this grid did not create. */
export function passwordFile(grid: GridPaths, user: string): string {
  const path = join(grid.state, 'users', user)
  if (!/^[^/@\s]+@[^/@\s]+$/.test(user) || user.startsWith('.') || !existsSync(path)) {
    const known = createdUsers(grid)
    throw new XosError('XOS_NO_USER', `cannot log in '${user}': grid '${grid.name}' did not create this user${known.length > 0 ? ` (it created ${known.join(', ')})` : ''}; ` +
      `make one with 'xgrid user add NAME'`, { user })
  }
  return path
}

export function createdUsers(grid: GridPaths): string[] {
  return list(join(grid.state, 'users')).sort()
}

export function readPassword(grid: GridPaths, user: string): string {
  return readFileSync(passwordFile(grid, user), 'utf8').trim()
}

/**
 * Adds a member to the grid's VO with a password of its own, asked of the registry on n1, and keeps the password.
 * Throws XOS_USER_EXISTS when the grid has it already.
 * @param name the name without @VO; roles as the VO knows them
 */
export async function addUser(grid: GridPaths, name: string, roles: readonly string[]): Promise<{ user: string; password: string }> {
  const user = `${name}@${voOf(grid)}`
  if (createdUsers(grid).includes(user)) throw new XosError('XOS_USER_EXISTS', `cannot add user '${user}': this grid has it already`, { user })
  const init = registry(grid, name)
  const password = newPassword()
  // The file first: a member whose password nobody knows would be of no use to anyone.
  keepPassword(grid, user, password)
  try {
    await callNode(init, 'member-add', { user: name, roles, password })
  } catch (error) {
    rmSync(join(grid.state, 'users', user), { force: true })
    throw error
  }
  return { user, password }
}

/**
 * As addUser, and repairs what an earlier call left half-done when it was killed: a kept password without a member, or a member without a
 * kept password. Returns null when all is as it should be.
 */
export async function ensureUser(grid: GridPaths, name: string, roles: readonly string[]): Promise<{ user: string; password: string } | null> {
  const user = `${name}@${voOf(grid)}`
  const init = registry(grid, name)
  const isKept = createdUsers(grid).includes(user)
  const isMember = (await callNode(init, 'member-list', {})).members.some((member) => member.user === name || member.user === user)
  if (isKept && isMember) return null
  if (isKept) rmSync(join(grid.state, 'users', user))
  if (!isMember) return await addUser(grid, name, roles)
  const password = newPassword()
  await callNode(init, 'member-password', { user: name, password })
  keepPassword(grid, user, password)
  return { user, password }
}

function voOf(grid: GridPaths): string {
  return readGrid(grid)?.vo ?? 'demo'
}

function registry(grid: GridPaths, name: string): ProcessIdentity {
  const run = nodeRun(grid, 'n1')
  if (run.state === 'up') return run.record.init
  throw new XosError('XOS_NODE_DOWN', `cannot add user '${name}': node 'n1', which has the registry, is ${run.state}; bring it up with 'xgrid up'`)
}

/** 12 characters of 32: 60 bits. */
function newPassword(): string {
  return Array.from({ length: 3 }, () => Array.from({ length: 4 }, () => alphabet[randomInt(alphabet.length)]).join('')).join('-')
}

function keepPassword(grid: GridPaths, user: string, password: string): void {
  mkdirSync(join(grid.state, 'users'), { recursive: true, mode: 0o700 })
  writeFileSync(join(grid.state, 'users', user), `${password}\n`, { mode: 0o600, flag: 'wx' })
}
