/* The version of pyprof: of its programs, its recordings' writer and its manuals. */
#ifndef PYPROF_DAEMON_VERSION_H
#define PYPROF_DAEMON_VERSION_H

#define PYPROF_VERSION "0.1.0"

#endif
