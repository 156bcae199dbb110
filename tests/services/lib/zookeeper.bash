# shellcheck shell=bash
# Installs ZooKeeper from the distribution's package, and a Java to run it: the machine's own from version 11 on, else
# the distribution's headless one, unpacked. Out: folders `zookeeper` and, where needed, `java` in the cache.

# java_on_path: the machine's Java, if it may be used and is new enough.
java_on_path() {
  machine_may_serve || return 1
  local java version
  java="$(command -v java)" || return 1
  version="$("$java" -version 2>&1 | sed -nE 's/.* version "([0-9]+)(\.([0-9]+))?.*/\1/p')"
  ((${version:-0} >= 11)) || return 1
  printf '%s' "$java"
}

install_java() {
  local -a build=(unpack "$CACHE/java" '.*' default-jre-headless)
  if java_on_path >/dev/null; then return 0; fi
  once "$CACHE/java" "$(recipe "${build[@]:2}")" "${build[@]}"
}

install_zookeeper() {
  # Only what holds ZOOKEEPER_JARS: the package also depends on a desktop Java, Tomcat and Jetty.
  local -a build=(unpack "$CACHE/zookeeper"
    'lib(zookeeper|slf4j|netty|dropwizard-metrics|commons-cli|commons-io|jackson2-.*|snappy)-java' libzookeeper-java)
  install_java
  once "$CACHE/zookeeper" "$(recipe "${build[@]:2}")" "${build[@]}"
}

# What the server loads. The package's manifest cannot be used: it names absolute paths, and omits three netty jars that
# TLS needs (codec, resolver, transport-native-unix-common).
readonly ZOOKEEPER_JARS=(zookeeper zookeeper-jute slf4j-api slf4j-simple metrics-core commons-cli commons-io snappy-java
  netty-common netty-buffer netty-codec netty-handler netty-resolver netty-transport netty-transport-native-epoll
  netty-transport-native-unix-common jackson-annotations jackson-core jackson-databind)

# zookeeper_class_path: the jars above, as Java wants them.
zookeeper_class_path() {
  local name path=''
  for name in "${ZOOKEEPER_JARS[@]}"; do path="$path:$CACHE/zookeeper/root/usr/share/java/$name.jar"; done
  printf '%s' "${path#:}"
}

# java_home: of the unpacked Java.
java_home() {
  local found=("$CACHE"/java/root/usr/lib/jvm/java-*-openjdk-*)
  printf '%s' "${found[0]}"
}
