/* The pages, as formats/web/bundle puts them together when pyprof is built. Internal to formats/. */
#ifndef PYPROF_FORMATS_WEB_H
#define PYPROF_FORMATS_WEB_H

extern const char web_flame[], web_flame_end[];

#endif
