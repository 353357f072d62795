#!/bin/sh
# Fills files/tools and files/lib with programs of this machine (Debian 12, as the lab's base) that the hosts lack: git,
# setfattr, setfacl, locale-gen, curl. Without them the tasks that need them are skipped.
cd "$(dirname "$0")" || exit
rm -rf files/tools files/lib
mkdir -p files/tools files/lib
cp /usr/bin/git /usr/bin/setfattr /usr/bin/getfattr /usr/bin/setfacl /usr/bin/getfacl /usr/sbin/locale-gen files/tools/
ln -sf git files/tools/git-upload-pack
cp /usr/bin/curl $(ldd /usr/bin/curl | awk '$3 ~ /^\// && $1 !~ /^lib(c|m|dl|pthread|resolv)[.]so/ { print $3 }') files/lib/
printf '#!/bin/sh\nLD_LIBRARY_PATH=/usr/local/lib/families exec /usr/local/lib/families/curl "$@"\n' >files/tools/curl
chmod 755 files/tools/curl
tar --sort=name --mtime=2024-01-01 -C /usr/share -czf files/i18n.tar.gz i18n/charmaps/UTF-8.gz i18n/SUPPORTED i18n/locales/de_DE i18n/locales/en_US i18n/locales/en_GB i18n/locales/i18n i18n/locales/i18n_ctype i18n/locales/iso14651_t1 i18n/locales/iso14651_t1_common i18n/locales/translit_combining i18n/locales/translit_compat i18n/locales/translit_circle i18n/locales/translit_cjk_compat i18n/locales/translit_font i18n/locales/translit_fraction i18n/locales/translit_narrow i18n/locales/translit_neutral i18n/locales/translit_small i18n/locales/translit_wide i18n/locales/translit_cjk_variants i18n/locales/translit_hangul
du -sh files
