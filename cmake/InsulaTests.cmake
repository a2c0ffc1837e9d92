# insula_add_cluster_test(<name> <preload|no_preload> [TCP] [SCRAM] [BUSY]
#                         [TIMEOUT <seconds>] [CONF <name=value>...] COMMAND <command> [<argument>...])
#
# A test that gets a throw-away cluster of its own, with or without
# shared_preload_libraries; see scripts/with-cluster.sh for what TCP and SCRAM do
# and what the command finds in its environment. The command may be a target.
function(insula_add_cluster_test name preload)
  cmake_parse_arguments(PARSE_ARGV 2 arg "TCP;SCRAM;BUSY" "TIMEOUT" "CONF;COMMAND")
  set(options)
  if(preload STREQUAL "preload")
    list(APPEND options --preload)
  elseif(preload STREQUAL "no_preload")
    list(APPEND options --no-preload)
  else()
    message(FATAL_ERROR "insula_add_cluster_test: preload or no_preload, not ${preload}")
  endif()
  if(arg_TCP)
    list(APPEND options --tcp)
  endif()
  if(arg_SCRAM)
    list(APPEND options --scram)
  endif()
  foreach(line IN LISTS arg_CONF)
    list(APPEND options --conf ${line})
  endforeach()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 600)
  endif()

  list(POP_FRONT arg_COMMAND program)
  if(TARGET ${program})
    set(program $<TARGET_FILE:${program}>)
  endif()
  add_test(NAME ${name}
    COMMAND ${PROJECT_SOURCE_DIR}/scripts/with-cluster.sh ${options} --
            ${program} ${arg_COMMAND})
  # Those that may take long begin first, so that no processor is left waiting for the last one.
  set_tests_properties(${name} PROPERTIES
    FIXTURES_REQUIRED extension TIMEOUT ${arg_TIMEOUT} COST ${arg_TIMEOUT})
  if(arg_BUSY)
    set_tests_properties(${name} PROPERTIES PROCESSORS 2)
  endif()
endfunction()

# insula_add_test_program(<target> <directory> [OPTIMIZED] [LIBRARIES <library>...])
#
# One GoogleTest program of all the sources in the directory. Most wait for a server, and are not worth optimizing.
function(insula_add_test_program target directory)
  cmake_parse_arguments(PARSE_ARGV 2 arg "OPTIMIZED" "" "LIBRARIES")
  file(GLOB sources CONFIGURE_DEPENDS ${directory}/*.cpp)
  find_package(GTest REQUIRED)
  add_executable(${target} ${sources})
  target_link_libraries(${target} PRIVATE ${arg_LIBRARIES} GTest::gtest_main Threads::Threads)
  if(NOT arg_OPTIMIZED)
    target_compile_options(${target} PRIVATE -O0)
  endif()
endfunction()
