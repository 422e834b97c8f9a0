// Passwords of the users that the grid created, one file a user, readable by root only: what `xgrid exec` logs in with.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { randomInt } from 'node:crypto'
import { join } from 'node:path'
import { XosError } from '../core/errors.ts'
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
 * @param name the name without @VO; roles as the VO knows them
 */
export async function addUser(grid: GridPaths, name: string, roles: readonly string[]): Promise<{ user: string; password: string }> {
  const vo = readGrid(grid)?.vo ?? 'demo'
  const run = nodeRun(grid, 'n1')
  if (run.state !== 'up') throw new XosError('XOS_NODE_DOWN', `cannot add user '${name}': node 'n1', which has the registry, is ${run.state}; bring it up with 'xgrid up'`)
  const password = Array.from({ length: 3 }, () => Array.from({ length: 4 }, () => alphabet[randomInt(alphabet.length)]).join('')).join('-')
  const user = `${name}@${vo}`
  const path = join(grid.state, 'users', user)
  mkdirSync(join(grid.state, 'users'), { recursive: true, mode: 0o700 })
  // The file first: a member whose password nobody knows would be of no use to anyone.
  if (existsSync(path)) throw new XosError('XOS_USER_EXISTS', `cannot add user '${user}': this grid has it already`, { user })
  writeFileSync(path, `${password}\n`, { mode: 0o600, flag: 'wx' })
  try {
    await callNode(run.record.init, 'member-add', { user: name, roles, password })
  } catch (error) {
    rmSync(path, { force: true })
    throw error
  }
  return { user, password }
}
