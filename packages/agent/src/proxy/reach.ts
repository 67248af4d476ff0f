/** What can be reached from this host: an instance before it gets traffic, and our own ports as callers see them. */
import { request } from 'node:http'
import { connect } from 'node:net'
import type { Clock } from '@boxcar/core/model/clock'
import type { Door, Picture } from './picture.ts'
import { probeHeader } from './render.ts'

const reachLimitMs = 500
const answerLimitMs = 1_000

/** Whether a connection to an instance opens within half a second. */
export function reach(place: Door, clock: Clock): Promise<'reached' | 'not-yet'> {
  const stop = new AbortController()
  return new Promise(resolve => {
    const socket = connect({ host: place.address, port: place.port })
    const end = (result: 'reached' | 'not-yet') => {
      stop.abort()
      socket.destroy()
      resolve(result)
    }
    socket.on('connect', () => end('reached'))
    socket.on('error', () => end('not-yet'))
    void clock.sleep(reachLimitMs, stop.signal).then(() => end('not-yet'))
  })
}

/** The pid of the worker that answers at an HTTP door; -1 when something answers that is no worker. */
export function askDoor(door: Door): Promise<number | 'silent'> {
  return new Promise(resolve => {
    const probe = request({
      host: door.address,
      port: door.port,
      agent: false,
      timeout: answerLimitMs,
      headers: { [probeHeader]: '1' },
    })
    probe.on('response', response => {
      let text = ''
      response.on('data', chunk => {
        text += chunk
      })
      response.on('end', () => resolve(/^\d+$/.test(text) ? Number(text) : -1))
      response.on('error', () => resolve('silent'))
    })
    probe.on('timeout', () => probe.destroy())
    probe.on('error', () => resolve('silent'))
    probe.end()
  })
}

/** One door for each HTTP port, at an inside address, where the probe is answered. */
export function probedDoors(picture: Picture): readonly Door[] {
  const doors = new Map<number, Door>()
  for (const door of picture.httpDoors) {
    const address = picture.inside.find(
      a => a === door.address || (door.address === '0.0.0.0' && !a.includes(':')),
    )
    if (address !== undefined) doors.set(door.port, { address, port: door.port })
  }
  return [...doors.values()]
}
